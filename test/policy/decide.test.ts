// Decisions end to end over a hand-made snapshot: order of stages, lines that decide, and trace equality.
import test from 'ava'
import { decideAccept } from '../../src/policy/decide-accept.ts'
import { emptyOverlay, snapshot, source } from '../support/snapshot.ts'

const accept = (address: string, country: string | null): ReturnType<typeof decideAccept> =>
  decideAccept(snapshot(), emptyOverlay(), {
    source: source(address, country),
    listener: 'https',
    openFromSource: 0,
    openTotal: 0,
    nowMs: 0,
  })

test('home country is admitted, another is refused by the line of home', t => {
  t.true(accept('198.51.100.1', 'US').allow)
  const verdict = accept('198.51.100.1', 'CN')
  t.like(verdict, { allow: false, refusal: { reason: 'country-refused', saw: 'CN', line: { line: 2 } } })
})
