// Runs official tests through a whole gate: the bytes of the request over TLS, the hits from the gate's own events.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { importFolder, MANIFEST, OWN_FILES } from '../../src/config/imported-rules.ts'
import { isRuleSetFile, sha256 } from '../../src/config/import-source.ts'
import { AGENT_NAME, openTls, SHIPPED_RULES, startWholeGate, type WholeGate } from '../support/whole-gate.ts'
import { readCrsFiles, TEST_SETTINGS } from './crs-rules.ts'
import { judge, type Outcome } from './engine-level.ts'
import { expectsServerRefusal, type OfficialTest, type Stage } from './official-tests.ts'
import { rawRequest, wireText } from './raw-request.ts'

const ANSWER_MS = 5_000
/** The clock of the gate goes on by this for each request, so that no limit on events or requests is met. */
const STEP_MS = 20_000

type Seen = { readonly ids: ReadonlySet<number>; readonly refusal: string | null }

/** Runs tests one after the other through one gate. */
export async function runSocketLevel(
  folder: string,
  tests: readonly OfficialTest[],
): Promise<readonly Outcome[]> {
  let offsetMs = 0
  await using gate = await startWholeGate({
    clock: () => Date.now() + offsetMs,
    policy: { rules: SHIPPED_RULES },
  })
  importInto(join(gate.directory, 'policies'), folder)
  gate.write({
    ...gate.policy,
    rules: { packs: [], imported: { crs: { paranoia: 4, threshold: 5, mode: 'detect' } } },
  })
  await gate.admin('POST', '/v1/reload', {})
  const outcomes: Outcome[] = []
  for (const [number, test] of tests.entries()) {
    offsetMs += STEP_MS
    outcomes.push(await runTest(gate, test, number))
  }
  return outcomes
}

/** Puts a checkout where `portcullis rules import` would, with the settings of the tests as exclusions of the admin's own. */
function importInto(policies: string, folder: string): void {
  const target = join(policies, importFolder('crs'))
  const files: { path: string; bytes: number; sha256: string }[] = []
  for (const [path, text] of readCrsFiles(folder)) {
    if (!isRuleSetFile(path)) continue
    const bytes = Buffer.from(text, 'latin1')
    mkdirSync(dirname(join(target, path)), { recursive: true })
    writeFileSync(join(target, path), bytes)
    files.push({ path, bytes: bytes.length, sha256: sha256(bytes) })
  }
  const source = { kind: 'directory', name: folder, sha256: '0'.repeat(64) }
  writeFileSync(
    join(target, MANIFEST),
    JSON.stringify({ format: 1, source, importedAt: '2026-01-01', files }),
  )
  const settings = TEST_SETTINGS.map(setting => `setvar:tx.${setting}`).join(',')
  writeFileSync(join(target, OWN_FILES.before), `SecAction "id:1,phase:1,nolog,pass,${settings}"\n`)
}

async function runTest(gate: WholeGate, test: OfficialTest, number: number): Promise<Outcome> {
  if (test.isResponse) return { test, result: 'not-applicable', reason: 'looks at the response' }
  let how = ''
  for (const [index, stage] of test.stages.entries()) {
    const seen = await send(gate, stage, number)
    const result = judgeSeen(stage, seen)
    if (result.failed !== null) {
      const place = test.stages.length === 1 ? '' : `stage ${index + 1}: `
      return { test, result: 'failed', reason: `${place}${result.failed}` }
    }
    how = result.how
  }
  return { test, result: 'passed', reason: how }
}

function judgeSeen(
  stage: Stage,
  { ids, refusal }: Seen,
): { readonly failed: string | null; readonly how: string } {
  const { output } = stage
  if (expectsServerRefusal(stage)) {
    const isRefused = refusal !== null
    return {
      failed: isRefused ? null : 'was not refused',
      how: 'refused by the gate itself, as the test expects of a server',
    }
  }
  // What is written into a log is judged at the engine: events keep ids and values, no sentences of the rules.
  const plain: Stage = { ...stage, output: { ...output, matchPattern: null, noMatchPattern: null } }
  const reason = judge(plain, { ids, lines: [] })
  if (refusal === null || reason === null) {
    return { failed: reason === null ? null : `${reason}${refusal === null ? '' : ` (${refusal})`}`, how: '' }
  }
  const isProtocolTest =
    output.expectIds.length > 0 && output.expectIds.every(id => id >= 920_000 && id < 922_000)
  return isProtocolTest
    ? {
        failed: null,
        how: 'refused by the gate itself before rules, where the test expects a protocol violation',
      }
    : { failed: `${reason} (${refusal})`, how: '' }
}

/** Sends a request as a source of its own and gathers what the gate said of it. */
async function send(gate: WholeGate, stage: Stage, number: number): Promise<Seen> {
  const raw = rawRequest(stage.input)
  // The gate serves the names of its policy; tests that are about the host name write others, and those stay.
  const headers = raw.headers.map(([name, value]) =>
    /^host$/i.test(name) && /^localhost(?::\d+)?$/.test(value)
      ? ([name, AGENT_NAME] as const)
      : ([name, value] as const),
  )
  const wire =
    stage.input.encoded === null
      ? wireText({ ...raw, headers })
      : stage.input.encoded.replace(/^(host:\s*)localhost/im, `$1${AGENT_NAME}`)
  gate.lines.all.length = 0
  const from = `216.160.${80 + ((number >> 8) % 100)}.${1 + (number % 250)}`
  const socket = await openTls(gate, { from })
  const answer = await new Promise<string>(done => {
    let text = ''
    const end = (): void => {
      clearTimeout(timer)
      socket.destroy()
      done(text)
    }
    const timer = setTimeout(end, ANSWER_MS)
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      if (isWhole(text)) end()
    })
    socket.on('error', end)
    socket.on('close', end)
    socket.write(Buffer.from(wire, 'latin1'))
  })
  await gate.idle()
  const ids = new Set<number>()
  for (const { hit } of gate.lines.of('rule.detected')) {
    const id = /^crs-(\d+)$/.exec(hit.ruleId)?.[1]
    if (id !== undefined) ids.add(Number(id))
  }
  const refused = gate.lines.of('request.refused')[0]
  const status = /^HTTP\/1\.\d (\d{3})/.exec(answer)?.[1] ?? null
  const isAnswered = gate.lines.of('request.closed').length > 0
  const refusal =
    refused !== undefined
      ? `refused: ${refused.reason}`
      : isAnswered
        ? null
        : `no request came through, answer ${status ?? 'none'}`
  return { ids, refusal }
}

function isWhole(answer: string): boolean {
  const end = answer.indexOf('\r\n\r\n')
  if (end < 0) return false
  const length = /\r\ncontent-length: (\d+)/i.exec(answer.slice(0, end + 2))?.[1]
  return length !== undefined && answer.length >= end + 4 + Number(length)
}
