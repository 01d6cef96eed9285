import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';

test('leaves a file, a timer, a server and a child process', () => {
  writeFileSync(join(tmpdir(), 'left.txt'), '');
  setInterval(() => {}, 1_000);
  createServer().listen(0, '127.0.0.1');
  const child = spawn('sleep', ['20'], { stdio: 'ignore' });
  expect(child.pid).toBeDefined();
});
