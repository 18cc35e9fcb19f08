// Mistakes in connector.yaml and in the files that it names: each is shown at its place, in words that help, and without the secret.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { loadConnectorFile, type ConnectorResult } from '../../src/config/connector-file.ts'
import { renderProblem } from '../../src/config/problems.ts'
import { formatSourceLine } from '../../src/policy/source-line.ts'

const GOOD = `version: 1
name: rmm
key: { file: gateway.key }
gates:
  - url: https://gate.example.com
use: standby
services:
  https: { tls: '127.0.0.1:443' }
  heartbeat: { udp: '127.0.0.1:75' }
`
const SECRET = 'correct horse battery'

type Mistake = {
  readonly name: string
  readonly replace: readonly [from: string, to: string]
  /** Line and column. */
  readonly at: string
  readonly says: RegExp
  readonly hint?: RegExp
  readonly key?: string
  readonly mode?: number
}

const MISTAKES: readonly Mistake[] = [
  { name: 'a key nobody knows', replace: ['use:', 'usee:'], at: '6:1', says: /usee/, hint: /use/ },
  {
    name: 'a way of use that does not exist',
    replace: ['standby', 'failover'],
    at: '6:6',
    says: /"failover" is not a value of use/,
  },
  { name: 'no service target', replace: ["{ tls: '127.0.0.1:443' }", '{}'], at: '8:10', says: /./ },
  {
    name: 'a target without a port',
    replace: ["127.0.0.1:443'", "127.0.0.1'"],
    at: '8:17',
    says: /not host:port/,
    hint: /3389/,
  },
  { name: 'a port that cannot be', replace: [':443', ':70000'], at: '8:17', says: /not host:port/ },
  {
    name: 'two targets of one service',
    replace: ["{ tls: '127.0.0.1:443' }", "{ tls: '127.0.0.1:443', tcp: '127.0.0.1:80' }"],
    at: '8:12',
    says: /unknown key "tls"/,
  },
  {
    name: 'a name where UDP needs an address',
    replace: ["'127.0.0.1:75'", 'rmm.internal:75'],
    at: '9:21',
    says: /is a name; UDP needs an address/,
    hint: /127\.0\.0\.1:75/,
  },
  {
    name: 'a gate without https',
    replace: ['https://gate', 'http://gate'],
    at: '5:10',
    says: /not the address of a gate/,
    hint: /https:\/\/gate/,
  },
  {
    name: 'a gate with a path',
    replace: ['example.com', 'example.com/x'],
    at: '5:10',
    says: /not the address of a gate/,
  },
  {
    name: 'no gate',
    replace: ['gates:\n  - url: https://gate.example.com', 'gates: []'],
    at: '4:8',
    says: /./,
  },
  {
    name: 'a pin that is none',
    replace: ['example.com', 'example.com\n    pin: sha256/abc'],
    at: '6:10',
    says: /not a pin/,
    hint: /openssl/,
  },
  {
    name: 'an authority that is not there',
    replace: ['example.com', 'example.com\n    ca: nowhere.pem'],
    at: '6:9',
    says: /"nowhere\.pem" cannot be used/,
  },
  {
    name: 'an authority that is none',
    replace: ['example.com', 'example.com\n    ca: gateway.key'],
    at: '6:9',
    says: /no PEM certificate/,
  },
  {
    name: 'a key file that is not there',
    replace: ['gateway.key', 'other.key'],
    at: '3:14',
    says: /"other\.key" cannot be read/,
  },
  {
    name: 'a key file that others can read',
    replace: ['', ''],
    mode: 0o640,
    at: '3:14',
    says: /can be read by others/,
    hint: /chmod 600/,
  },
  { name: 'an empty key file', replace: ['', ''], key: '', at: '3:14', says: /is empty/ },
  { name: 'a key that is too short', replace: ['', ''], key: 'Short12', at: '3:14', says: /fewer than 8/ },
  {
    name: 'a variable that is not set',
    replace: ['file: gateway.key', 'env: NO_KEY'],
    at: '3:13',
    says: /NO_KEY is not set/,
  },
  { name: 'the key itself in the file', replace: ['{ file: gateway.key }', SECRET], at: '3:6', says: /./ },
  { name: 'a name with a blank', replace: ['name: rmm', 'name: my rmm'], at: '2:7', says: /not a name/ },
  {
    name: 'a proxy with a password in its address',
    replace: ['use:', 'proxy: { url: "http://svc:secret@proxy:3128" }\nuse:'],
    at: '6:15',
    says: /not the address of a proxy/,
  },
  {
    name: 'a way back that is too quick',
    replace: ['use: standby', 'use: standby\nreturnAfter: 0s'],
    at: '7:14',
    says: /1s|1 s|second/,
  },
  {
    name: 'another version',
    replace: ['version: 1', 'version: 2'],
    at: '1:10',
    says: /not a value of version/,
  },
]

function loadWith(t: ExecutionContext, text: string, key = SECRET, mode = 0o600): ConnectorResult {
  const directory = mkdtempSync(join(tmpdir(), 'portcullis-connector-file-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  writeFileSync(join(directory, 'gateway.key'), key === '' ? '' : `${key}\n`)
  chmodSync(join(directory, 'gateway.key'), mode)
  const file = join(directory, 'connector.yaml')
  writeFileSync(file, text)
  return loadConnectorFile(file, 'connector.yaml', {})
}

test('the good file, which the mistakes start from, is accepted', t => {
  t.true(loadWith(t, GOOD).ok)
})

for (const { name, replace, at, says, hint, key, mode } of MISTAKES) {
  test(`refused: ${name}`, t => {
    const text = GOOD.replace(...replace)
    if (key === undefined && mode === undefined) t.not(text, GOOD)
    const result = loadWith(t, text, key, mode)
    if (result.ok) {
      t.fail('the file was accepted')
      return
    }
    const shown = result.problems.map(renderProblem).join('\n')
    const found = result.problems.filter(problem => formatSourceLine(problem) === `connector.yaml:${at}`)
    t.truthy(
      found.find(problem => says.test(problem.message)),
      `wanted ${at} ${String(says)}, got:\n${shown}`,
    )
    if (hint !== undefined)
      t.regex(found.map(problem => `${problem.message} ${problem.hint ?? ''}`).join(' '), hint, shown)
    // What a key file holds is never shown.
    if (text !== GOOD.replace('{ file: gateway.key }', SECRET))
      t.false(shown.includes(key === '' ? SECRET : (key ?? SECRET)))
  })
}
