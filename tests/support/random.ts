/**
 * Random numbers from 0 to 1, repeatable by a seed. The seed is printed; KLINEKEEP_SEED sets it.
 * https://en.wikipedia.org/wiki/Linear_congruential_generator
 */
export function seededRandom(): () => number {
  const seed = Number(process.env.KLINEKEEP_SEED ?? Math.floor(Math.random() * 2 ** 31));
  console.info(`KLINEKEEP_SEED=${seed} repeats this`);
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return state / 2 ** 31;
  };
}
