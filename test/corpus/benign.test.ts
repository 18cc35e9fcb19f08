// Real RMM traffic passes: no shipped rule, in the mode in which it ships, refuses any of the corpus.
import test from 'ava'
import { benignRequests, TEMPLATES } from './benign.ts'
import { judge, refusals, shippedSnapshot } from './engine.ts'

const snapshot = shippedSnapshot()

test('the corpus is varied, and the same for the same seed', t => {
  t.true(TEMPLATES.length >= 60)
  t.is(new Set(TEMPLATES.map(({ name, profile }) => `${profile}: ${name}`)).size, TEMPLATES.length)
  const requests = benignRequests(7, 400)
  t.deepEqual(benignRequests(7, 400), requests)
  t.true(new Set(requests.map(({ target, body }) => `${target} ${body?.toString('latin1')}`)).size > 300)
  t.true(requests.some(({ webSocket }) => webSocket))
})

test('no rule refuses any request of the corpus', t => {
  const wrong = new Map<string, string>()
  for (const request of benignRequests(20_261_121, 3_000)) {
    const judged = judge(snapshot, request)
    if (judged.refused !== null)
      wrong.set(`${request.name}: ${judged.refused}`, `${request.method} ${request.target}`)
    for (const { ruleId, field, value } of refusals(judged))
      wrong.set(`${request.name}: ${ruleId} in ${field}`, value)
  }
  t.deepEqual(
    [...wrong].map(([what, why]) => `${what}: ${why}`),
    [],
  )
})
