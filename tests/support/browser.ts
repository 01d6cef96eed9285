import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';
import { onTestFinished } from 'vitest';

const PLACES = [
  process.env.CHROMIUM ?? '',
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

/** The system's Chromium, where there is one. */
export const browserPath = PLACES.find((place) => place !== '' && existsSync(place));

/** For the names of tests, so that a skipped one says why. */
export const browserNote = browserPath
  ? ''
  : ' (skipped: no Chromium here; apt install chromium, or name one in CHROMIUM)';

/** Starts the system's Chromium; it ends with the test. */
export async function startBrowser(): Promise<Browser> {
  // Its sandbox refuses root, and the only page it sees is ours.
  const browser = await chromium.launch({
    executablePath: browserPath as string,
    args: ['--no-sandbox'],
  });
  onTestFinished(() => browser.close());
  return browser;
}
