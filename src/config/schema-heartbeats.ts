// Schema of the UDP listeners for heartbeats.
import { z } from 'zod'
import { duration, endpoint, heartbeatUpstream, oneOrMany, size, strict } from './scalars.ts'

const count = (min: number, max: number) => z.number().int().min(min).max(max)

/** A UDP listener for heartbeats. */
export const heartbeatListener = strict({
  address: oneOrMany(endpoint).describe(
    'Address and UDP port, or a list of them. On a machine with several public addresses list each one: answers then leave from the address that the client sent to.',
  ),
  upstream: heartbeatUpstream,
  idle: duration(10_000, 24 * 3_600_000)
    .prefault('150s')
    .describe(
      'Silence of a client after which its flow is forgotten; answers of the server reach it until then.',
    ),
  datagramSize: size(64, 65_507).prefault('1472B').describe('Largest datagram, in either direction.'),
  flows: count(10, 1_000_000)
    .default(10_000)
    .describe('Clients (address and port) at once. Each needs one open file of the process.'),
  flowsPerSource: count(1, 1_000_000)
    .default(2_000)
    .describe('Clients at once behind one address. A whole site may stand behind it.'),
  newFlows: count(1, 100_000)
    .default(1_000)
    .describe(
      'New clients per second, five times as many at once. Addresses of sites, and addresses that have had answers, have as many of their own, so that forged addresses cannot take their place.',
    ),
  newFlowsPerSource: count(1, 100_000)
    .default(100)
    .describe(
      'New clients per second behind one address (IPv6: one /64), five times as many at once. Agents beyond it get in with their next heartbeats.',
    ),
  expectedEvery: duration(1_000, 24 * 3_600_000)
    .optional()
    .describe(
      'How often a client sends: it is late after twice, gone after three times that, and said so by site. Left out: what the profile states, else nobody is expected.',
    ),
  replyRatio: count(1, 100)
    .default(3)
    .describe(
      'Bytes that may go to a client for each byte that came from it, headers included. It keeps senders with forged addresses from using the server against others.',
    ),
  replies: z
    .enum(['expected', 'none'])
    .default('expected')
    .describe('Whether the server answers heartbeats. expected: a silent server is reported.'),
}).describe('A UDP listener for heartbeats. Class heartbeat says who may send; datagrams carry no key.')
