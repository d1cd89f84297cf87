console.log(process.execPath);
