// Preloaded into a process that is to be blocked: SIGUSR2 stops its event loop for 5 s.
process.on("SIGUSR2", () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5_000))
