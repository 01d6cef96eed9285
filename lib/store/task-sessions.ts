import { wait } from '../base/mod.ts';
import { type Database, disconnected, type Session } from '../postgres/mod.ts';
import { helpWith } from './locks.ts';

/** A helper that has not answered after this long is done without. */
const HELPER_PATIENCE_MS = 2_000;

/** The session of one task, which holds the instrument's lock, and the helpers that write under it. */
export class TaskSessions {
  /** Aborted when one of the sessions is lost. */
  readonly lost: AbortSignal;
  readonly #database: Database;
  readonly #owner: Session;
  readonly #helpers: Session[] = [];
  readonly #helperLost = new AbortController();

  constructor(database: Database, owner: Session) {
    this.#database = database;
    this.#owner = owner;
    this.lost = AbortSignal.any([disconnected(owner), this.#helperLost.signal]);
  }

  /** @returns a new helper; an empty list where the server has no room for one */
  async openHelper(signal: AbortSignal): Promise<Session[]> {
    const helper = this.#database.openSession(0);
    if (!(await answers(helper, signal))) {
      helper.end({ timeout: 0 }).catch(() => {});
      return [];
    }
    this.#helpers.push(helper);
    const loss = disconnected(helper);
    loss.addEventListener('abort', () => this.#helperLost.abort(loss.reason));
    await helpWith(this.#owner, helper);
    return [helper];
  }

  closeHelpers(): void {
    const timeout = this.lost.aborted ? 0 : 5;
    for (const helper of this.#helpers) helper.end({ timeout }).catch(() => {});
  }
}

/** Whether a new session reaches the server, which may have no connection left for it. */
async function answers(session: Session, signal: AbortSignal): Promise<boolean> {
  const answered = new AbortController();
  const isOpen = await Promise.race([
    session`select 1`.then(
      () => true,
      () => false,
    ),
    wait(HELPER_PATIENCE_MS, AbortSignal.any([signal, answered.signal])).then(
      () => false,
      () => false,
    ),
  ]);
  answered.abort();
  return isOpen && !disconnected(session).aborted;
}
