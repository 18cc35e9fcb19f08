// Schema of a profile file: how an RMM product's traffic falls into classes, and what the product needs.
import { z } from 'zod'
import { classLimits } from './schema-classes.ts'
import { health } from './schema-gate.ts'
import {
  duration,
  id,
  method,
  note,
  oneOrMany,
  pathPattern,
  perClass,
  strict,
  trafficClass,
} from './scalars.ts'

/** One line that maps requests to a class. */
export const classLine = strict({
  class: trafficClass.describe('Class of the requests that match.'),
  path: oneOrMany(pathPattern).describe(
    'A path or a list of paths. A path covers itself and everything below it; * stands for one segment or a part of one, ** for any number of segments, a final $ means exactly this path.',
  ),
  methods: oneOrMany(method).optional().describe('Only these methods; left out: all.'),
  webSocket: z
    .boolean()
    .optional()
    .describe('true: WebSocket handshakes only. false: everything else only. Left out: both.'),
}).describe('A line that maps requests to a class. The first line that matches decides.')

/** A line as read. */
export type WrittenLine = z.output<typeof classLine>

/** A profile file. */
export const profileFile = strict({
  version: z.literal(1).describe('Version of the profile format.'),
  product: note('Name of the product, as people know it.'),
  caseSensitive: z
    .boolean()
    .describe('Whether the product tells capital from small letters in paths. IIS does not.'),
  classes: z
    .array(classLine)
    .min(1)
    .max(500)
    .describe(
      'Lines that map requests to classes; the first that matches decides. What none names is class other.',
    ),
  forwardedHeaders: z
    .array(z.enum(['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'x-real-ip', 'forwarded']))
    .describe(
      'Headers about the client that the product reads. The gate sets these and removes all others of the family.',
    ),
  removeResponseHeaders: z
    .array(z.string().regex(/^[a-z0-9-]{1,64}$/, 'header names in small letters'))
    .default([])
    .describe('Response headers that give versions away.'),
  pinsCertificate: z
    .boolean()
    .default(false)
    .describe('Agents pin the web certificate: changes are announced and spaced out.'),
  health: health.extend({}).describe('The probe that tells whether a server of this product lives.'),
  heartbeat: strict({
    expectedEvery: duration(1_000, 24 * 3_600_000).describe('How often an agent sends a heartbeat over UDP.'),
  })
    .optional()
    .describe('Heartbeats over UDP; left out: the product sends none, or nobody knows how often.'),
  checkIn: strict({
    expectedEvery: duration(1_000, 24 * 3_600_000).describe(
      'How often the slowest agent asks the server for work (class agent).',
    ),
  })
    .optional()
    .describe(
      'Check-ins of agents. Diagnoses and the state of a site call an agent late after twice, gone after three times that; left out: gone after two hours, a site silent after one.',
    ),
  packs: z.array(id).default([]).describe('Rule packs that make sense for this product.'),
  limits: perClass(classLimits)
    .default({})
    .describe('Limits by class that the product needs, where they differ from the built-in ones.'),
}).describe('An RMM product.')

/** A profile as read. */
export type WrittenProfile = z.output<typeof profileFile>
