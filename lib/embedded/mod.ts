/** A PostgreSQL that comes with the project and outlives the script that started it. */
export { embeddedStatus, startEmbedded, stopEmbedded } from './cluster.ts';
