// Schema of the gateway: which connectors count as what, and how many may attach.
import { z } from 'zod'
import { CONNECTOR_CLIENT } from '../policy/connector-url.ts'
import { IDENTITY_TEXT } from '../policy/gateway-policy.ts'
import { HINT, id, strict } from './scalars.ts'

const count = (min: number, max: number) => z.number().int().min(min).max(max)

const connector = strict({
  key: z
    .string()
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/,
      `not the name of a key${HINT}portcullis keys list shows them`,
    )
    .describe(
      'Name of the gateway key (not the key itself). Only a connector that attached with this key counts: the holder of another key cannot take its place.',
    ),
  client: z
    .string()
    .regex(CONNECTOR_CLIENT, 'not the name of a client')
    .optional()
    .describe('Name that the connector gives itself; left out: the name of this entry.'),
  identity: z
    .string()
    .regex(IDENTITY_TEXT, `not an identity${HINT}bin/connector identity shows it, ed25519/ and 43 characters`)
    .optional()
    .describe(
      'Identity that the connector must prove; left out: the one that it shows first, as identity of the gateway says.',
    ),
}).describe('A connector that upstreams and heartbeats may go through.')

/** The gateway. */
export const gateway = strict({
  connectors: z
    .record(id, connector)
    .default({})
    .describe('Connectors by name; an upstream goes through one as connector://name/service.'),
  identity: z
    .enum(['pin', 'require', 'off'])
    .default('pin')
    .describe(
      'pin: the name of a client stays with the identity that it showed first (portcullis clients forget lets another one in); clients that show none keep the names that nobody has shown one for. require: every client must show one. off: identities are not looked at.',
    ),
  attachments: count(1, 1_000_000)
    .default(20_000)
    .describe('Connections of connectors at once; each connector has one to nine.'),
  attachmentsPerSource: count(1, 1_000_000)
    .default(2_000)
    .describe('Connections of connectors from one address at once. A whole site may stand behind one.'),
}).describe('The gateway: connectors that dial out to the gate and are reached through it.')
