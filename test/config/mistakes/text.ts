// Mistakes in the text of a policy file, its keys and types.
import { GOOD_POLICY } from '../support.ts'
import type { Mistake } from './mistake.ts'

const LAST = GOOD_POLICY.split('\n').length
const site = (text: string): string => `sites:\n  acme:\n    addresses: [198.51.100.0/24]\n${text}`

/** The mistakes. */
export const TEXT_MISTAKES: readonly Mistake[] = [
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
]
