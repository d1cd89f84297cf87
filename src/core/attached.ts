/**
 * Values that belong to objects of somebody else. Copies and proxies of an object, and objects that inherit from it, do not have
 * its value.
 */
export interface Attached<T> {
  get(object: object): T | undefined;
  set(object: object, value: T): void;
}

/**
 * A WeakMap for objects that come with each request.
 *
 * A real WeakMap keeps what its values refer to until the next full garbage collection: V8 moves the map into its old space, and
 * the frequent collections of its new space then treat each value as alive. So here a value is a private field of the object.
 * Objects that are frozen, sealed or not extensible have a WeakMap instead.
 */
export function attached<T>(): Attached<T> {
  const ofFrozen = new WeakMap<object, T>();

  class Field extends Given {
    #value: T;

    private constructor(object: object, value: T) {
      super(object);
      this.#value = value;
    }

    static get(object: object): T | undefined {
      return #value in object ? object.#value : ofFrozen.get(object);
    }

    static set(object: object, value: T): void {
      if (#value in object) object.#value = value;
      else if (Object.isExtensible(object)) new Field(object, value);
      else ofFrozen.set(object, value);
    }
  }
  return Field;
}

/** Lets a class put its private fields on an object of another class. */
class Given {
  constructor(object: object) {
    // biome-ignore lint/correctness/noConstructorReturn: the fields of a subclass go on what the constructor returns
    return object;
  }
}
