const TIMEOUT_MS = 5_000;

/**
 * Sends a request to a monitor such as healthchecks.io when a run starts (`/start`) or ends
 * (`/<exit code>`). Never fails, and gives up after five seconds.
 */
export async function pingHealthcheck(
  url: string,
  event: 'start' | number,
  timeoutMs = TIMEOUT_MS,
): Promise<void> {
  try {
    const address = new URL(url);
    address.pathname = `${address.pathname.replace(/\/+$/, '')}/${event}`;
    const answer = await fetch(address, { signal: AbortSignal.timeout(timeoutMs) });
    await answer.body?.cancel();
  } catch {
    // Such a monitor raises an alarm when requests stop, so a failed one needs no other report.
  }
}
