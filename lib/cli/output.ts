/** Nobody reads the output any more, as after `| head`: stop, all is well. */
export class OutputClosed extends Error {}

/**
 * Writes to a stream and waits while its reader is slower than we are.
 * @throws OutputClosed when the reader has gone.
 */
export async function writeOut(stream: NodeJS.WritableStream, chunk: string): Promise<void> {
  const { destroyed, errored } = stream as NodeJS.WriteStream;
  if (destroyed || errored) throw new OutputClosed();
  await new Promise<void>((settle, reject) => {
    stream.write(chunk, (error) => {
      if (!error) settle();
      else if ((error as NodeJS.ErrnoException).code === 'EPIPE') reject(new OutputClosed());
      else reject(error);
    });
  });
}
