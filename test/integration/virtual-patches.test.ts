// Every request that a virtual patch names as an attack is refused by the whole gate, every other one reaches the server.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import type { RuleDocument, RuleTestRequest } from '../../src/ips/rule-document.ts'
import { readRules } from '../ips/read-rules.ts'
import { sendTest, startAnswering, type Outcome } from '../support/rule-traffic.ts'
import { AGENT_NAME, ROOT, startWholeGate, type WholeGate } from '../support/whole-gate.ts'

const PATCHES = ['rmm-virtual-patches', 'endpoint-management']
const OWN = [...PATCHES, 'rmm-recon']
const PACKS = [...OWN, 'generic', 'generic-injection', 'protocol', 'scanners']
const AT_ONCE = 12

type Sent = {
  readonly rule: RuleDocument
  readonly request: RuleTestRequest
  readonly isCompressed: boolean
  readonly outcome: Outcome
}

const rules = OWN.flatMap(pack =>
  readRules(readFileSync(join(ROOT, 'policies/rules', `${pack}.yaml`), 'utf8'), `${pack}.yaml`),
)

/** What is sent: tests of one kind; attacks with a body once more with the body compressed. */
function testsOf(
  gate: WholeGate,
  packs: readonly string[],
  kind: 'fires' | 'quiet',
): Omit<Sent, 'outcome'>[] {
  const inUse = loaded(gate)
  const plain = rules
    .filter(({ id, pack }) => packs.includes(pack) && inUse.has(id))
    .flatMap(rule => rule.tests[kind].map(request => ({ rule, request, isCompressed: false })))
  if (kind === 'quiet') return plain
  return [
    ...plain,
    ...plain.filter(({ request }) => hasBody(request)).map(sent => ({ ...sent, isCompressed: true })),
  ]
}

function hasBody({ form, json, xml, multipart, body, base64Body }: RuleTestRequest): boolean {
  return [form, json, xml, multipart, body, base64Body].some(content => content !== undefined)
}

/** Sends tests, a few at a time. */
async function sendAll(gate: WholeGate, packs: readonly string[], kind: 'fires' | 'quiet'): Promise<Sent[]> {
  const waiting = testsOf(gate, packs, kind)
  const sent: Sent[] = []
  const worker = async (number: number): Promise<void> => {
    const from = `216.160.83.${56 + number}`
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const outcome = await sendTest(gate, next.request, {
        host: AGENT_NAME,
        from,
        compress: next.isCompressed,
      })
      sent.push({ ...next, outcome })
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, (_, number) => worker(number)))
  return sent
}

function loaded(gate: WholeGate): ReadonlySet<string> {
  return new Set(gate.portcullis.snapshot().rules.rules.map(({ id }) => id))
}

const name = ({ rule, request, isCompressed, outcome }: Sent): string =>
  `${rule.id}: ${JSON.stringify(request.request)}${isCompressed ? ' compressed' : ''} ${outcome.end === 'lost' ? outcome.saw : outcome.end}`

test('virtual patches: attacks are refused, traffic of the products is not', async t => {
  await using upstream = await startAnswering()
  const enforced = Object.fromEntries(PATCHES.map(pack => [pack, 'enforce']))
  await using gate = await startWholeGate({
    upstream: { primary: upstream.url },
    policy: { rules: { packs: OWN, modes: enforced } },
  })
  // Where Automate stands, a request for it is no probe.
  const missing = rules.filter(rule => !loaded(gate).has(rule.id)).map(rule => rule.id)
  t.deepEqual(missing, ['probe-automate'])

  const attacks = await sendAll(gate, PATCHES, 'fires')
  gate.write({ ...gate.policy, rules: { packs: OWN, modes: { 'rmm-recon': 'enforce' } } })
  t.true((await gate.portcullis.reload('command')).ok)
  attacks.push(...(await sendAll(gate, ['rmm-recon'], 'fires')))

  t.deepEqual(attacks.filter(({ outcome }) => outcome.end !== 'refused').map(name), [])
  const refusals = new Map(gate.lines.of('request.refused').map(line => [line.reference, line]))
  const byReason: Record<string, number> = {}
  let byOwnRule = 0
  for (const { rule, outcome } of attacks) {
    const line = outcome.end === 'refused' ? refusals.get(outcome.reference) : undefined
    const reason = line?.reason ?? 'none'
    byReason[reason] = (byReason[reason] ?? 0) + 1
    if (line?.hits.some(hit => hit.ruleId === rule.id) === true) byOwnRule++
  }
  t.log(`${attacks.length} attacks refused: ${JSON.stringify(byReason)}, ${byOwnRule} by their own rule`)
  // The others name a host that the gate does not serve, or are no valid request.
  t.true((byReason['rule'] ?? 0) > attacks.length * 0.95)
  t.true(byOwnRule > attacks.length * 0.9)

  // As shipped: rules that only detect let pass.
  gate.write({ ...gate.policy, rules: { packs: PACKS } })
  t.true((await gate.portcullis.reload('command')).ok)
  const traffic = await sendAll(gate, OWN, 'quiet')
  const ownHost = traffic.filter(({ request }) => request.host === undefined)
  t.deepEqual(ownHost.filter(({ outcome }) => outcome.end !== 'reached').map(name), [])
  t.log(`${ownHost.length} requests of products reached the server`)
})
