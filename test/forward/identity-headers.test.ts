// Attack with headers of other proxies that name the user or the client, and with names made up to fill memories.
import test from 'ava'
import { headersForUpstream, type Way } from '../../src/forward/headers.ts'
import { name, upstreamGroup } from '../support/snapshot.ts'

function way(): Way {
  const group = upstreamGroup([1])
  const [member] = group.members
  if (member === undefined) throw new Error('no member')
  return { profile: name().profile, group, member, host: 'rmm.example.test', clientAddress: '198.51.100.7' }
}

const FORGED = [
  'Remote-User',
  'REMOTE_USER',
  'Remote.Groups',
  'X-Remote-User',
  'X-WebAuth-User',
  'X-Authenticated-User',
  'X-Auth-Request-Email',
  'X-MS-CLIENT-PRINCIPAL-ID',
  'X-MS-Forwarded-Client-IP',
  'X-Azure-FDID',
  'X-Goog-Authenticated-User-Email',
]

test('attack: who claims to be a user that a proxy in front has signed in', t => {
  const sent = headersForUpstream(
    FORGED.flatMap(header => [header, 'admin']),
    way(),
  )
  t.false(sent.includes('admin'), sent.join(' '))
})

test('attack: thousands of made-up names change nothing for the names that matter', t => {
  for (let at = 0; at < 5_000; at++) headersForUpstream([`X-Made-Up-${at}`, 'v'], way())
  const sent = headersForUpstream(['X-Real-IP', '6.6.6.6', 'Accept', '*/*', 'Remote_User', 'eve'], way())
  t.false(sent.includes('6.6.6.6'))
  t.false(sent.includes('eve'))
  t.true(sent.includes('*/*'))
})
