import { toRelayUrl } from '@authmesh/sdk/admin';
import { describe, expect, it } from 'vitest';

describe('the URL of a relay', () => {
  it.each([
    ['wss://relay.example.com/ws', 'wss://relay.example.com/ws'],
    ['wss://relay.example.com', 'wss://relay.example.com/ws'],
    [' ws://192.168.1.20:3001/ws\n', 'ws://192.168.1.20:3001/ws'],
    ['wss://relay.example.com/pair', 'wss://relay.example.com/pair'],
    ['ws://[2001:db8::1]:3001', 'ws://[2001:db8::1]:3001/ws'],
  ])('%j is %s', (text, url) => {
    expect(toRelayUrl(text)).toBe(url);
  });

  it.each([
    [
      'relay.example.com',
      'A relay must be a URL such as wss://relay.example.com/ws. Perhaps: wss://relay.example.com/ws',
    ],
    ['https://relay.example.com', 'begin with wss:// or ws://. Perhaps: wss://relay.example.com/ws'],
    ['http://192.168.1.20:3001', 'begin with wss:// or ws://. Perhaps: ws://192.168.1.20:3001/ws'],
    ['ftp://relay.example.com', 'The URL of a relay must begin with wss:// or ws://.'],
    ['', 'A relay must be a URL such as wss://relay.example.com/ws.'],
    ['wss://name:secret@relay.example.com', 'The URL of a relay must not contain a user name or password.'],
    ['wss://relay.example.com/ws?token=secret', 'The URL of a relay must not contain ? or #.'],
    ['wss://relay.example.com/ws#secret', 'The URL of a relay must not contain ? or #.'],
  ])('%j is refused, with the likely correction', (text, message) => {
    expect(() => toRelayUrl(text)).toThrow(TypeError);
    expect(messageOf(text)).toContain(message);
    expect(messageOf(text)).not.toContain('secret');
  });
});

function messageOf(text: string): string {
  try {
    return toRelayUrl(text);
  } catch (error) {
    return (error as Error).message;
  }
}
