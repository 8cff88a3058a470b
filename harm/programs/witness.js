// A Node program that notices what an injection does to it: node witness.js STATE_FILE
"use strict";
const fs = require("fs");
const crypto = require("crypto");
const { spawn } = require("child_process");

const LANES = 5;
const file = fs.openSync(process.argv[2], "r+");
const rounds = new BigUint64Array(LANES);

function put(at, value) {
  fs.writeSync(file, new BigUint64Array([value]), 0, 8, at);
}
function harmed(what) {
  fs.writeSync(file, Buffer.from(String(what).slice(0, 255)), 0, undefined, 8 * 66);
  process.exit(1);
}
function done(lane) {
  put(8 * (2 + lane), ++rounds[lane]);
}
process.on("uncaughtException", (error) => harmed(error.stack));

const data = Buffer.alloc(1 << 16, "known");
const expected = crypto.createHash("sha256").update(data).digest("hex");

setInterval(() => {
  if (crypto.createHash("sha256").update(data).digest("hex") !== expected) harmed("a hash");
  const numbers = new Float64Array(1024);
  for (let i = 0; i < 1024; i++) numbers[i] = i / 3;
  let sum = 0;
  for (let i = 0; i < 1024; i++) sum += numbers[i];
  if (Math.abs(sum - (1023 * 1024) / 6) > 1e-6) harmed("a sum");
  done(0);
}, 1);

function sleeper() {
  const begin = process.hrtime.bigint();
  setTimeout(() => {
    if (process.hrtime.bigint() - begin < 1_900_000n) harmed("a timer was early");
    done(1);
    sleeper();
  }, 3);
}
sleeper();

function worker() { // in libuv's own threads
  crypto.pbkdf2("a", "b", 50, 32, "sha256", (error, key) => {
    if (error) harmed(error);
    if (worker.expected === undefined) worker.expected = key.toString("hex");
    if (key.toString("hex") !== worker.expected) harmed("a key");
    done(2);
    setTimeout(worker, 1);
  });
}
worker();

const cat = spawn("cat", [], { stdio: ["pipe", "pipe", "inherit"] });
let sent = 0, got = 0;
cat.on("exit", () => harmed("its child ended"));
cat.stdout.on("data", (chunk) => {
  for (const byte of chunk) if (byte !== (got++ & 255)) harmed("what a pipe brought");
  done(3);
  setTimeout(() => cat.stdin.write(Buffer.from([sent++ & 255])), 1);
});
cat.stdin.write(Buffer.from([sent++ & 255]));

const heap = new Map();
let turn = 0;
setInterval(() => {
  const key = turn++ % 997;
  const old = heap.get(key);
  if (old && old.some((value, i) => value !== old[0] + i)) harmed("the heap");
  heap.set(key, Array.from({ length: 100 }, (_, i) => turn + i));
  done(4);
}, 1);

put(8, BigInt(LANES));
