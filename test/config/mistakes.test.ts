// More than sixty kinds of bad configuration: each is refused at the right place, in words that help.
import test from 'ava'
import { formatSourceLine } from '../../src/policy/source-line.ts'
import { renderProblem } from '../../src/config/problems.ts'
import { GOOD_POLICY, GOOD_PROFILE, GOOD_RULES, load, policyDirectory } from './support.ts'

type Mistake = {
  readonly name: string
  /** Appended to the good policy, or what replaces a part of it. */
  readonly add?: string
  readonly replace?: readonly [string | RegExp, string]
  readonly policy?: string | Uint8Array
  readonly profile?: readonly [string | RegExp, string]
  readonly rules?: readonly [string | RegExp, string]
  /** `line:column` in the file (portcullis.yaml unless `profile` or `rules` is given). */
  readonly at: string
  readonly says: RegExp
  readonly hint?: RegExp
}

const LAST = GOOD_POLICY.split('\n').length
const site = (text: string): string => `sites:\n  acme:\n    addresses: [198.51.100.0/24]\n${text}`
const exception = (text: string): string => site(`    tlsException: ${text}\n`)

const MISTAKES: readonly Mistake[] = [
  // The text itself.
  { name: 'empty file', policy: '', at: '1:1', says: /empty/ },
  { name: 'only a comment', policy: '# nothing\n', at: '1:1', says: /must be a block of keys, not empty/ },
  { name: 'binary file', policy: new Uint8Array([0x7f, 0x45, 0, 1]), at: '', says: /binary/ },
  { name: 'UTF-16 file', policy: new Uint8Array([0xff, 0xfe, 0x76, 0]), at: '', says: /UTF-16/ },
  { name: 'not UTF-8', policy: new Uint8Array([0x76, 0xff, 0xff]), at: '', says: /UTF-8/ },
  { name: 'huge file', policy: `# ${'x'.repeat(600_000)}\n`, at: '', says: /bytes; at most/ },
  { name: 'tab as indentation', replace: [/ {2}https/, '\thttps'], at: '6:1', says: /tab/, hint: /spaces/ },
  { name: 'several documents', add: '---\nversion: 1\n', at: `${LAST}:1`, says: /more than one document/ },
  { name: 'anchor', replace: ['[US]', '&h [US]'], at: '2:10', says: /anchors/ },
  { name: 'alias', add: 'bans: *home\n', at: `${LAST}:7`, says: /anchors and aliases/ },
  {
    name: 'wildcard name without quotes',
    replace: ['rmm.example.test:', '*.example.test :'],
    at: '8:3',
    says: /aliases/,
    hint: /quote/,
  },
  { name: 'tag', replace: ['[US]', '!!set [US]'], at: '2:7', says: /tag|YAML/i },
  { name: 'merge key', add: 'limits: { <<: { connections: 5 } }\n', at: `${LAST}:11`, says: /merge keys/ },
  {
    name: 'repeated key',
    add: 'home: [CA]\n',
    at: `${LAST}:1`,
    says: /"home" is stated twice/,
    hint: /line 2/,
  },
  {
    name: 'repeated key in brackets',
    replace: ['{ upstream: rmm }', '{ upstream: rmm, upstream: rmm }'],
    at: '8:38',
    says: /stated twice/,
  },
  { name: 'open quote', replace: ['"127.0.0.1:8443"', '"127.0.0.1:8443'], at: '6:38', says: /quote/i },
  { name: 'open bracket', replace: ['[US]', '[US'], at: '3:1', says: /not valid YAML|bracket|\]/ },
  {
    name: 'a list instead of a block',
    policy: '- version: 1\n',
    at: '1:1',
    says: /block of keys, not a list/,
  },
  { name: '__proto__', add: '__proto__: { a: 1 }\n', at: `${LAST}:1`, says: /unknown key/ },
  // Keys and types.
  {
    name: 'misspelt key',
    add: 'lisnters: {}\n',
    at: `${LAST}:1`,
    says: /unknown key "lisnters"/,
    hint: /did you mean "listeners"/,
  },
  {
    name: 'misspelt required key',
    replace: ['upstreams:', 'upstream:'],
    at: '9:1',
    says: /unknown key/,
    hint: /upstreams/,
  },
  {
    name: 'misspelt key inside a block',
    replace: ['{ upstream: rmm }', '{ upstraem: rmm }'],
    at: '8:23',
    says: /unknown key "upstraem"/,
    hint: /"upstream"/,
  },
  {
    name: 'key from elsewhere',
    replace: ['{ upstream: rmm }', '{ upstream: rmm, geo: x }'],
    at: '8:38',
    says: /unknown key "geo" in names/,
    hint: /known here/,
  },
  { name: 'missing home', replace: ['home: [US]\n', ''], at: '1:1', says: /home is required/ },
  {
    name: 'missing upstream of a name',
    replace: ['{ upstream: rmm }', '{ tls: strict }'],
    at: '8:21',
    says: /upstream is required/,
  },
  {
    name: 'version unknown',
    replace: ['version: 1', 'version: 2'],
    at: '1:10',
    says: /2 is not a value of version/,
  },
  {
    name: 'model unknown',
    replace: ['all-traffic', 'agents-only'],
    at: '3:8',
    says: /"agents-only" is not a value of model/,
    hint: /did you mean "agent-only"/,
  },
  {
    name: 'number for text',
    replace: ['profile: tiny', 'profile: 5'],
    at: '4:10',
    says: /profile must be text, not the number 5/,
  },
  {
    name: 'text for number',
    add: 'limits: { connections: "many" }\n',
    at: `${LAST}:24`,
    says: /connections must be a number/,
  },
  {
    name: 'number out of range',
    add: 'limits: { connections: 1 }\n',
    at: `${LAST}:24`,
    says: /connections is 1; at least 10/,
  },
  {
    name: 'fraction for a count',
    add: 'limits: { connections: 20.5 }\n',
    at: `${LAST}:24`,
    says: /connections/,
  },
  {
    name: 'yes for true',
    add: site('    trusted: yes\n'),
    at: `${LAST + 3}:14`,
    says: /trusted must be true or false, not the text "yes"/,
    hint: /true or false/,
  },
  {
    name: 'key without a value',
    replace: ['profile: tiny', 'profile:'],
    at: '4:1',
    says: /profile must be text, not empty/,
  },
  // Countries (trap 24).
  {
    name: 'trap 24: truth value in a country list',
    replace: ['[US]', '[US, false]'],
    at: '2:12',
    says: /truth value false/,
    hint: /Norway/,
  },
  { name: 'number in a country list', replace: ['[US]', '[US, 1]'], at: '2:12', says: /number 1/ },
  {
    name: 'unknown country',
    replace: ['[US]', '[UX]'],
    at: '2:8',
    says: /"UX" is not an ISO 3166-1 country code/,
  },
  { name: 'UK', replace: ['[US]', '[UK]'], at: '2:8', says: /"UK"/, hint: /did you mean GB/ },
  {
    name: 'country by name',
    replace: ['[US]', '[Norway]'],
    at: '2:8',
    says: /"Norway"/,
    hint: /did you mean NO/,
  },
  { name: 'country in small letters', replace: ['[US]', '[us]'], at: '2:8', says: /"us"/, hint: /US/ },
  {
    name: 'EU',
    add: 'classes: { agent: { countries: [home, EU] } }\n',
    at: `${LAST}:39`,
    says: /"EU" is not a country/,
  },
  {
    name: 'any inside a list',
    add: 'classes: { agent: { countries: [home, any] } }\n',
    at: `${LAST}:39`,
    says: /"any" stands alone/,
    hint: /countries: any/,
  },
  // Addresses.
  {
    name: 'host bits',
    add: 'trusted: [203.0.113.7/24]\n',
    at: `${LAST}:11`,
    says: /not a network/,
    hint: /203\.0\.113\.0\/24 or the one address 203\.0\.113\.7/,
  },
  {
    name: 'prefix out of range',
    add: 'trusted: [203.0.113.0/33]\n',
    at: `${LAST}:11`,
    says: /impossible prefix/,
  },
  {
    name: 'name for an address',
    add: 'trusted: [office.example.com]\n',
    at: `${LAST}:11`,
    says: /not an address or range/,
    hint: /names are not resolved/,
  },
  { name: 'octal address', add: 'trusted: [203.000.113.7]\n', at: `${LAST}:11`, says: /not an address/ },
  { name: 'everybody trusted', add: 'trusted: [0.0.0.0/0]\n', at: `${LAST}:11`, says: /everybody/ },
  {
    name: 'everybody banned',
    add: 'bans:\n  - { address: "::/0", reason: x, owner: y }\n',
    at: `${LAST + 1}:5`,
    says: /close the gate/,
  },
  {
    name: 'everybody allowed',
    add: 'allow:\n  - { address: 0.0.0.0/0, reason: x, owner: y }\n',
    at: `${LAST + 1}:5`,
    says: /everybody/,
  },
  {
    name: 'ban without a reason',
    add: 'bans:\n  - { address: 192.0.2.1, owner: y }\n',
    at: `${LAST + 1}:5`,
    says: /reason is required/,
  },
  {
    name: 'allow without an owner',
    add: 'allow:\n  - { address: 192.0.2.1, reason: y }\n',
    at: `${LAST + 1}:5`,
    says: /owner is required/,
  },
  {
    name: 'two countries for one range',
    add: 'geo:\n  overrides:\n    - { address: 192.0.2.0/24, country: US, reason: x }\n    - { address: 192.0.2.0/24, country: CA, reason: x }\n',
    at: `${LAST + 3}:18`,
    says: /two countries/,
  },
  // Sites.
  {
    name: 'two sites with one range',
    add: site('  borealis: { addresses: [198.51.100.0/24] }\n'),
    at: `${LAST + 3}:27`,
    says: /already belongs to site acme/,
  },
  {
    name: 'range twice in a site',
    add: 'sites: { acme: { addresses: [192.0.2.1, 192.0.2.1] } }\n',
    at: `${LAST}:41`,
    says: /listed twice/,
  },
  {
    name: 'site without addresses',
    add: 'sites: { acme: { addresses: [] } }\n',
    at: `${LAST}:29`,
    says: /at least 1 entry/,
  },
  {
    name: 'site id with capitals',
    add: 'sites: { Acme: { addresses: [192.0.2.1] } }\n',
    at: `${LAST}:10`,
    says: /"Acme" is not an id/,
    hint: /small letters/,
  },
  {
    name: 'TLS exception without an owner',
    add: exception('{ minimum: TLSv1, reason: x, expires: 2027-03-31 }'),
    at: `${LAST + 3}:19`,
    says: /owner is required/,
  },
  {
    name: 'TLS exception without an end',
    add: exception('{ minimum: TLSv1, reason: x, owner: y }'),
    at: `${LAST + 3}:19`,
    says: /expires is required/,
  },
  {
    name: 'TLS exception without a reason',
    add: exception('{ minimum: TLSv1, owner: y, expires: 2027-03-31 }'),
    at: `${LAST + 3}:19`,
    says: /reason is required/,
  },
  {
    name: 'day that does not exist',
    add: exception('{ minimum: TLSv1, reason: x, owner: y, expires: 2027-02-30 }'),
    at: `${LAST + 3}:67`,
    says: /not a day of the calendar/,
  },
  {
    name: 'date in another order',
    add: exception('{ minimum: TLSv1, reason: x, owner: y, expires: 31.03.2027 }'),
    at: `${LAST + 3}:67`,
    says: /not a date/,
    hint: /year-month-day/,
  },
  {
    name: 'TLS version unknown',
    add: exception('{ minimum: TLS1.0, reason: x, owner: y, expires: 2027-03-31 }'),
    at: `${LAST + 3}:30`,
    says: /"TLS1.0" is not a value/,
    hint: /TLSv1/,
  },
  // Classes.
  {
    name: 'unknown class',
    add: 'classes: { consle: { access: closed } }\n',
    at: `${LAST}:12`,
    says: /"consle"/,
    hint: /console/,
  },
  {
    name: 'unknown access',
    add: 'classes: { console: { access: office } }\n',
    at: `${LAST}:31`,
    says: /"office" is not a value of access/,
  },
  {
    name: 'key too short',
    add: 'classes: { api: { keys: [{ header: X-Key, value: short }] } }\n',
    at: `${LAST}:50`,
    says: /can be guessed/,
  },
  {
    name: 'key digest of the wrong length',
    add: 'classes: { api: { keys: [{ header: X-Key, sha256: abc }] } }\n',
    at: `${LAST}:51`,
    says: /SHA-256/,
    hint: /64 hex/,
  },
  {
    name: 'key without a place',
    add: 'classes: { api: { keys: [{ value: 0123456789abcdef0123 }] } }\n',
    at: `${LAST}:26`,
    says: /exactly one of header, query and cookie/,
  },
  {
    name: 'key in two places',
    add: 'classes: { api: { keys: [{ header: A, query: b, value: 0123456789abcdef0123 }] } }\n',
    at: `${LAST}:26`,
    says: /exactly one of header/,
  },
  {
    name: 'key without a secret',
    add: 'classes: { api: { keys: [{ header: X-Key }] } }\n',
    at: `${LAST}:26`,
    says: /exactly one of sha256 and value/,
  },
  {
    name: 'query key with odd characters',
    add: 'classes: { api: { keys: [{ query: k, value: "0123456789abcdef+/=" }] } }\n',
    at: `${LAST}:26`,
    says: /may only have letters/,
  },
  {
    name: 'window without hours',
    add: 'classes: { console: { windows: [Mon-Fri] } }\n',
    at: `${LAST}:33`,
    says: /not a time window/,
    hint: /Mon-Fri 07:00-19:00/,
  },
  {
    name: 'window with an unknown day',
    add: 'classes: { console: { windows: ["Montag 07:00-19:00"] } }\n',
    at: `${LAST}:33`,
    says: /names no days/,
  },
  {
    name: 'window with hour 25',
    add: 'classes: { console: { windows: ["Mon 07:00-25:00"] } }\n',
    at: `${LAST}:33`,
    says: /hour that does not exist/,
  },
  {
    name: 'empty window',
    add: 'classes: { console: { windows: ["Mon 07:00-07:00"] } }\n',
    at: `${LAST}:33`,
    says: /is empty/,
  },
  {
    name: 'duration without a unit',
    add: 'classes: { agent: { limits: { response: 30 } } }\n',
    at: `${LAST}:41`,
    says: /response must be text, not the number 30/,
  },
  {
    name: 'duration with a wrong unit',
    add: 'classes: { agent: { limits: { response: 30sec } } }\n',
    at: `${LAST}:41`,
    says: /not a duration/,
    hint: /30s/,
  },
  {
    name: 'duration too short',
    add: 'classes: { agent: { limits: { webSocketIdle: 1s } } }\n',
    at: `${LAST}:46`,
    says: /too short; at least 10s/,
  },
  {
    name: 'size with a wrong unit',
    add: 'classes: { agent: { limits: { maxBody: 10MB } } }\n',
    at: `${LAST}:40`,
    says: /not a size/,
    hint: /10MiB/,
  },
  {
    name: 'method in small letters',
    add: 'classes: { api: { limits: { methods: [get] } } }\n',
    at: `${LAST}:39`,
    says: /"get" is not a request method/,
    hint: /"GET"/,
  },
  // Names, listeners, upstreams.
  {
    name: 'unknown upstream',
    replace: ['{ upstream: rmm }', '{ upstream: rmn }'],
    at: '8:33',
    says: /no upstream "rmn"/,
    hint: /did you mean "rmm"/,
  },
  {
    name: 'unknown profile',
    replace: ['profile: tiny', 'profile: tinny'],
    at: '4:10',
    says: /no profile "tinny"/,
    hint: /"tiny"/,
  },
  {
    name: 'unknown profile of a name',
    replace: ['{ upstream: rmm }', '{ upstream: rmm, profile: x }'],
    at: '8:47',
    says: /no profile "x"/,
  },
  {
    name: 'wildcard in the middle',
    replace: ['rmm.example.test:', '"rmm.*.test":'],
    at: '8:3',
    says: /not a usable wildcard/,
  },
  {
    name: 'URL for a name',
    replace: ['rmm.example.test:', '"https://rmm.example.test":'],
    at: '8:3',
    says: /an URL/,
  },
  {
    name: 'name with a port',
    replace: ['rmm.example.test:', '"rmm.example.test:443":'],
    at: '8:3',
    says: /has a port/,
  },
  {
    name: 'name with capitals',
    replace: ['rmm.example.test:', 'RMM.example.test:'],
    at: '8:3',
    says: /capital letters/,
    hint: /rmm\.example\.test/,
  },
  { name: 'no name at all', replace: [/names:\n.*\n/, 'names: {}\n'], at: '7:8', says: /there is no name/ },
  {
    name: 'no listener at all',
    replace: [/listeners:\n.*\n/, 'listeners: {}\n'],
    at: '5:12',
    says: /there is no listener/,
  },
  {
    name: 'certificate file missing',
    replace: ['{ upstream: rmm }', '{ upstream: rmm, certificates: [{ cert: a.pem, key: b.pem }] }'],
    at: '8:61',
    says: /no file "a\.pem"/,
    hint: /certs/,
  },
  {
    name: 'whenDown unknown',
    replace: ['{ upstream: rmm }', '{ upstream: rmm, whenDown: close }'],
    at: '8:48',
    says: /"close" is not a value of whenDown/,
  },
  {
    name: 'listener TLS unknown',
    replace: ['"127.0.0.1:8443" }', '"127.0.0.1:8443", tls: modren }'],
    at: '6:44',
    says: /"modren"/,
    hint: /"modern"/,
  },
  {
    name: 'listener without a port',
    replace: ['127.0.0.1:8443', '127.0.0.1'],
    at: '6:21',
    says: /not address:port/,
  },
  {
    name: 'listener by name',
    replace: ['127.0.0.1:8443', 'rmm.example.test:8443'],
    at: '6:21',
    says: /does not begin with an address/,
  },
  {
    name: 'port out of range',
    replace: ['127.0.0.1:8443', '127.0.0.1:84430'],
    at: '6:21',
    says: /port 84430 does not exist/,
  },
  {
    name: 'two listeners on one port',
    replace: ['names:', '  other: { address: "0.0.0.0:8443" }\nnames:'],
    at: '7:21',
    says: /taken by listener https/,
  },
  {
    name: 'admin on a listener port',
    add: 'admin: { address: "127.0.0.1:8443" }\n',
    at: `${LAST}:19`,
    says: /admin address is taken by listener https/,
  },
  {
    name: 'withoutName not served',
    replace: ['"127.0.0.1:8443" }', '"127.0.0.1:8443", withoutName: rm.example.test }'],
    at: '6:52',
    says: /which names does not have/,
    hint: /rmm\.example\.test/,
  },
  {
    name: 'everybody a load balancer',
    replace: ['"127.0.0.1:8443" }', '"127.0.0.1:8443", loadBalancers: [0.0.0.0/0] }'],
    at: '6:55',
    says: /any client address/,
  },
  {
    name: 'upstream without a protocol',
    replace: ['"http://127.0.0.1:9080"', '"127.0.0.1:9080"'],
    at: '10:19',
    says: /http:\/\/ or https:/,
  },
  { name: 'upstream with a path', replace: ['9080"', '9080/LabTech"'], at: '10:19', says: /has a path/ },
  {
    name: 'upstream with a password',
    replace: ['http://127', 'http://u:p@127'],
    at: '10:19',
    says: /password/,
  },
  {
    name: 'secondary without primary',
    replace: ['primary:', 'secondary:'],
    at: '10:8',
    says: /primary is required/,
  },
  {
    name: 'secondary same as primary',
    replace: ['9080" }', '9080", secondary: "http://127.0.0.1:9080" }'],
    at: '10:55',
    says: /same server as the primary/,
  },
  {
    name: 'upstream is the gate',
    replace: ['127.0.0.1:9080', '127.0.0.1:8443'],
    at: '10:19',
    says: /in a circle/,
  },
  {
    name: 'pin malformed',
    replace: ['"http://127.0.0.1:9080" }', '"https://127.0.0.1:9080", tls: { pins: [abc] } }'],
    at: '10:59',
    says: /not a pin/,
  },
  {
    name: 'authority file missing',
    replace: ['"http://127.0.0.1:9080" }', '"https://127.0.0.1:9080", tls: { ca: ca.pem } }'],
    at: '10:56',
    says: /"ca\.pem" cannot be used: no such file/,
  },
  {
    name: 'tls for an http upstream',
    replace: ['9080" }', '9080", tls: { serverName: a.test } }'],
    at: '10:49',
    says: /no meaning/,
  },
  {
    name: 'probe pattern malformed',
    replace: ['9080" }', '9080", health: { body: "(" } }'],
    at: '10:60',
    says: /not a regular expression/,
  },
  // Routes, rules.
  {
    name: 'route without a slash',
    add: 'routes: [{ class: console, path: WCC2 }]\n',
    at: `${LAST}:34`,
    says: /does not begin with \//,
  },
  {
    name: 'route with a query',
    add: 'routes: [{ class: console, path: "/a?b=1" }]\n',
    at: `${LAST}:34`,
    says: /query/,
  },
  {
    name: 'route that is not normalised',
    add: 'routes: [{ class: console, path: /a//b }]\n',
    at: `${LAST}:34`,
    says: /not normalised/,
  },
  {
    name: 'route with a percent sign',
    add: 'routes: [{ class: console, path: /a%20b }]\n',
    at: `${LAST}:34`,
    says: /normalised path never has/,
  },
  {
    name: 'route to an unknown class',
    add: 'routes: [{ class: admin, path: /a }]\n',
    at: `${LAST}:19`,
    says: /"admin" is not a value of class/,
  },
  {
    name: 'unknown rule in modes',
    add: 'rules: { modes: { no-secret: off } }\n',
    at: `${LAST}:30`,
    says: /no rule or rule pack "no-secret"/,
    hint: /no-secrets/,
  },
  {
    name: 'unknown mode',
    add: 'rules: { modes: { no-secrets: on } }\n',
    at: `${LAST}:31`,
    says: /"on" is not a value/,
  },
  {
    name: 'unknown pack',
    add: 'rules: { packs: [genric] }\n',
    at: `${LAST}:18`,
    says: /no rule pack "genric"/,
    hint: /generic/,
  },
  {
    name: 'exception from an unknown rule',
    add: 'rules:\n  exceptions:\n    - { rule: nothing, paths: /a, reason: x, owner: y, expires: 2027-03-31 }\n',
    at: `${LAST + 2}:15`,
    says: /no rule "nothing"/,
  },
  {
    name: 'exception for an unknown site',
    add: 'rules:\n  exceptions:\n    - { rule: no-secrets, sites: acne, reason: x, owner: y, expires: 2027-03-31 }\n',
    at: `${LAST + 2}:34`,
    says: /no site "acne"/,
  },
  {
    name: 'exception without a scope',
    add: 'rules:\n  exceptions:\n    - { rule: no-secrets, reason: x, owner: y, expires: 2027-03-31 }\n',
    at: `${LAST + 2}:7`,
    says: /at least one of paths/,
    hint: /off/,
  },
  {
    name: 'exception without an end',
    add: 'rules:\n  exceptions:\n    - { rule: no-secrets, paths: /a, reason: x, owner: y }\n',
    at: `${LAST + 2}:7`,
    says: /expires is required/,
  },
  // Profiles.
  {
    name: 'profile: misspelt key',
    profile: ['caseSensitive', 'caseSensitiv'],
    at: '3:1',
    says: /unknown key "caseSensitiv"/,
    hint: /"caseSensitive"/,
  },
  {
    name: 'profile: unknown class',
    profile: ['class: enroll', 'class: enrol'],
    at: '7:14',
    says: /"enrol" is not a value of class/,
    hint: /"enroll"/,
  },
  {
    name: 'profile: unknown forwarded header',
    profile: ['[x-forwarded-for]', '[x-forwarded]'],
    at: '8:20',
    says: /"x-forwarded"/,
  },
  {
    name: 'profile: unknown pack',
    profile: ['[generic]', '[nothing]'],
    at: '10:9',
    says: /no rule pack "nothing"/,
  },
  // Rule files.
  {
    name: 'rules: misspelt key',
    rules: ['severity', 'severty'],
    at: '5:5',
    says: /unknown key "severty"/,
    hint: /"severity"/,
  },
  { name: 'rules: severity unknown', rules: ['high', 'hihg'], at: '5:15', says: /"hihg"/, hint: /"high"/ },
  { name: 'rules: broken pattern', rules: ['^/secret', '^/secret(?=x)'], at: '6:11', says: /no-secrets/ },
  {
    name: 'rules: two tests in one condition',
    rules: ["'^/secret' }", "'^/secret', has: x }"],
    at: '6:11',
    says: /no-secrets/,
  },
  {
    name: 'rules: a test that fails',
    rules: ['GET /public', 'GET /secret/x'],
    at: '7:44',
    says: /fires on GET \/secret\/x/,
  },
  {
    name: 'rules: one id twice',
    rules: [/$/, GOOD_RULES.split('\n').slice(2).join('\n')],
    at: '8:9',
    says: /exists already/,
  },
]

for (const { name, add = '', replace, policy, profile, rules, at, says, hint } of MISTAKES) {
  test(`refused: ${name}`, t => {
    const text = policy ?? (replace === undefined ? GOOD_POLICY + add : GOOD_POLICY.replace(...replace))
    if (profile === undefined && rules === undefined) t.not(text, GOOD_POLICY)
    const directory = policyDirectory(t, {
      'portcullis.yaml': text,
      ...(profile === undefined ? {} : { 'profiles/tiny.yaml': GOOD_PROFILE.replace(...profile) }),
      ...(rules === undefined ? {} : { 'rules/generic.yaml': GOOD_RULES.replace(...rules) }),
    })
    const result = load(directory)
    if (result.ok) {
      t.fail('the policy was accepted')
      return
    }
    const file =
      profile !== undefined
        ? 'policies/profiles/tiny.yaml'
        : rules !== undefined
          ? 'policies/rules/generic.yaml'
          : 'policies/portcullis.yaml'
    const wanted = at === '' ? file : `${file}:${at}`
    const shown = result.problems.map(renderProblem).join('\n')
    const found = result.problems.filter(problem => formatSourceLine(problem) === wanted)
    const match = found.find(problem => says.test(problem.message))
    t.truthy(match, `wanted ${wanted} ${String(says)}, got:\n${shown}`)
    if (hint !== undefined) t.regex(found.map(problem => problem.hint ?? '').join(' '), hint, shown)
  })
}

test('the good policy, which the mistakes start from, is accepted', t => {
  const result = load(policyDirectory(t))
  t.true(result.ok, result.ok ? '' : result.problems.map(renderProblem).join('\n'))
  t.true(MISTAKES.length >= 60)
})
