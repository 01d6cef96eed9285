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

/** The path of the system's Chromium, if it has one. */
export const browserPath = PLACES.find((place) => place !== '' && existsSync(place));

/** For test names: why the test is skipped. */
export const browserNote = browserPath
  ? ''
  : ' (skipped: no Chromium here; apt install chromium, or name one in CHROMIUM)';

/** Starts the system's Chromium; it ends with the test. */
export async function startBrowser(): Promise<Browser> {
  // The sandbox does not run as root, and the only page is ours.
  const browser = await chromium.launch({
    executablePath: browserPath as string,
    args: ['--no-sandbox'],
  });
  onTestFinished(() => browser.close());
  return browser;
}
