const WITHIN_MS = 5_000;

/**
 * Tells a monitor such as healthchecks.io that a run starts (`/start`) or how it ended
 * (`/<exit code>`). Never fails, and gives up after five seconds.
 */
export async function pingHealthcheck(
  url: string,
  what: 'start' | number,
  withinMs = WITHIN_MS,
): Promise<void> {
  try {
    const address = new URL(url);
    address.pathname = `${address.pathname.replace(/\/+$/, '')}/${what}`;
    const answer = await fetch(address, { signal: AbortSignal.timeout(withinMs) });
    await answer.body?.cancel();
  } catch {
    // The monitor notices silence by itself: that is what it is for.
  }
}
