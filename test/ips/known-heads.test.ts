// What is remembered of heads: never of one head for another, nothing with secrets, and not without end.
import test from 'ava'
import { KnownHeads } from '../../src/ips/known-heads.ts'
import type { RequestFacts } from '../../src/policy/facts.ts'
import { requestFacts } from '../policy/request.ts'

function head(
  method: string,
  target: string,
  raw: readonly string[],
  host = 'rmm.example.test',
): RequestFacts {
  return { ...requestFacts(method, target, { host }), headers: { get: () => undefined, raw } }
}

test('the same head is known again, and any other is not', t => {
  const heads = new KnownHeads()
  const given = head('GET', '/a', ['Host', 'rmm.example.test', 'X-A', '1', 'X-B', '2'])
  const others = [
    head('HEAD', '/a', given.headers.raw),
    head('GET', '/ab', given.headers.raw),
    head('GET', '/a', given.headers.raw, 'other.example.test'),
    head('GET', '/a', ['Host', 'rmm.example.test', 'X-A', '1']),
    head('GET', '/a', ['Host', 'rmm.example.test', 'X-B', '2', 'X-A', '1']),
    head('GET', '/a', ['Host', 'rmm.example.test', 'X-A', '1X-B2', '', '']),
    head('GET', '/a', ['Host', 'rmm.example.test', 'X-', 'A1', 'X-B', '2']),
    head('GET', '/a', ['Host', 'rmm.example.test', 'X-A', '13 X-B1 2']),
    { ...given, webSocket: true },
    { ...given, path: '/b' },
  ]
  const known = heads.of(given)
  t.truthy(known)
  const found = new Set([known, ...others.map(other => heads.of(other))])
  t.is(found.size, others.length + 1)
  t.is(heads.of({ ...given, headers: { ...given.headers, raw: [...given.headers.raw] } }), known)
})

test('heads with a query, with secrets and long ones are not remembered, and others not without end', t => {
  const heads = new KnownHeads()
  t.is(heads.of(head('GET', '/a?b=1', [])), null)
  for (const name of ['Authorization', 'Cookie', 'X-Api-Key', 'x-auth-token'])
    t.is(heads.of(head('GET', '/a', [name, 'x'])), null)
  t.is(heads.of(head('GET', '/a', ['X-A', 'x'.repeat(600)])), null)
  const first = heads.of(head('GET', '/a', []))
  for (let number = 0; number < 1_024; number++) heads.of(head('GET', `/${number}`, []))
  t.not(heads.of(head('GET', '/a', [])), first)
})
