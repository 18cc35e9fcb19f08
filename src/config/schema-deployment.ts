// Schema of the block `deployment`: what the assistants for trial and cut-over need to know. Decisions never read it.
import { parseAddress, type Address } from '../net/address.ts'
import { z } from 'zod'
import { HINT, hostProblem, oneOrMany, strict } from './scalars.ts'
import { quoted } from './problems.ts'

/** The old, direct address of the RMM server: a host, or host and port. */
const direct = z
  .string()
  .max(300)
  .meta({ examples: ['direct.example.com', '203.0.113.9:443'] })
  .transform((text, context) => {
    const match = /^([^:]+)(?::([1-9][0-9]{0,4}))?$/.exec(text)
    const host = match?.[1] ?? text
    const port = Number(match?.[2] ?? 443)
    const problem =
      match === null ? ([`${quoted(text)} is not a host or host:port`] as const) : hostProblem(host, false)
    if (problem === undefined && port <= 65_535) return { host, port }
    const [message, hint] = problem ?? [`port ${port} does not exist`]
    context.issues.push({
      code: 'custom',
      message: hint === undefined ? message : message + HINT + hint,
      input: text,
    })
    return z.NEVER
  })

const address = z
  .string()
  .max(64)
  .meta({ examples: ['203.0.113.5'] })
  .transform((text, context): Address => {
    const parsed = parseAddress(text)
    if (parsed !== undefined) return parsed
    context.issues.push({ code: 'custom', message: `${quoted(text)} is not an address`, input: text })
    return z.NEVER
  })

/** The block. */
export const deployment = strict({
  direct: direct
    .optional()
    .describe(
      'The old, direct address of the RMM server, which agents keep as their secondary: host or host:port.',
    ),
  egress: oneOrMany(address)
    .default([])
    .describe(
      'Addresses from which the gate reaches the RMM server: the only ones that its firewall admits after the cut-over.',
    ),
}).describe('What trial, template and cut-over need to know. Decisions about traffic never read it.')
