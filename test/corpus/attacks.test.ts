// Published attacks are refused: how many of each family, with the rules in the modes in which they ship.
import test from 'ava'
import { attack, FAMILIES } from './attacks.ts'
import { judge, refusals, shippedSnapshot } from './engine.ts'

const snapshot = shippedSnapshot()

// What is known to get through, by family: each number may only fall.
const MISSED: Readonly<Record<string, number>> = {}
// What is recorded and let through, because technicians send the same.
const RECORDED_ONLY: ReadonlySet<string> = new Set(['shell commands in a body'])

test('the table is large enough to mean something', t => {
  const payloads = new Set(
    FAMILIES.flatMap(({ payloads, name }) => payloads.map(payload => `${name} ${payload}`)),
  )
  t.true(payloads.size >= 280, `${payloads.size}`)
  t.true(FAMILIES.reduce((sum, { payloads, carriers }) => sum + payloads.length * carriers.length, 0) >= 500)
})

for (const { name, carriers, payloads } of FAMILIES) {
  test(`attack: ${name}`, t => {
    const missed = carriers.flatMap(carrier =>
      payloads
        .map(payload => attack(carrier, payload))
        .filter(request => {
          const judged = judge(snapshot, request)
          if (judged.refused !== null) return false
          return (RECORDED_ONLY.has(name) ? judged.hits : refusals(judged)).length === 0
        })
        .map(request => request.name),
    )
    t.true(
      missed.length <= (MISSED[name] ?? 0),
      `${missed.length} of ${carriers.length * payloads.length} missed:\n${missed.join('\n')}`,
    )
  })
}
