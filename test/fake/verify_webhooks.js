// Verifies deliveries with the reference implementation of Standard Webhooks.
//
//	node verify_webhooks.js MODULES FILE SECRET...
//
// MODULES is the node_modules directory that has the package; FILE is a JSON
// array of {body, headers}.  Prints one line per secret: how many deliveries it
// verified, and how many of the same with one byte more, which must be none.
const { createRequire } = require('node:module');
const fs = require('node:fs');

const [modules, file, ...secrets] = process.argv.slice(2);
const { Webhook } = createRequire(modules + '/')('standardwebhooks');
const deliveries = JSON.parse(fs.readFileSync(file, 'utf8'));

function verified(webhook, body, headers) {
	try {
		webhook.verify(body, headers);
		return 1;
	} catch {
		return 0;
	}
}

for (const secret of secrets) {
	const webhook = new Webhook(secret);
	let good = 0;
	let forged = 0;
	for (const { body, headers } of deliveries) {
		good += verified(webhook, body, headers);
		forged += verified(webhook, body + ' ', headers);
	}
	console.log(`${good} ${forged}`);
}
