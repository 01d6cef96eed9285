/** The reader has closed the output, as after `| head`: the script stops without an error. */
export class OutputClosed extends Error {}

/**
 * Writes to a stream, and waits until its reader has taken the chunk.
 * @throws OutputClosed when the reader has closed it.
 */
export async function writeOut(stream: NodeJS.WritableStream, chunk: string): Promise<void> {
  const { destroyed, errored } = stream as NodeJS.WriteStream;
  if (destroyed || errored) throw new OutputClosed();
  await new Promise<void>((resolve, reject) => {
    stream.write(chunk, (error) => {
      if (!error) resolve();
      else if ((error as NodeJS.ErrnoException).code === 'EPIPE') reject(new OutputClosed());
      else reject(error);
    });
  });
}
