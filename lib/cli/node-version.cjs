// Loaded first (node --require), because an old Node cannot parse the other files. For the same
// reason it uses no import, const or template.
var expected = require('../../package.json').engines.node;
var found = process.versions.node.split('.').map(Number);
var least = expected.replace('>=', '').split('.').map(Number);
var difference = found[0] - least[0] || found[1] - least[1] || found[2] - least[2];
if (difference < 0) {
  process.stderr.write(
    'klinekeep: This is Node ' +
      process.versions.node +
      '. Expected ' +
      expected +
      '. Install a newer one.\n',
  );
  process.exit(78);
}
