// Schema of the block `trial`: stages that only record for a while what they would refuse.
import { z } from 'zod'
import { TRIAL_STAGES } from '../policy/trial.ts'
import { id, lastDay, oneOrMany, strict } from './scalars.ts'

const entry = strict({
  expires: lastDay.describe('Last day of the trial (UTC). After it the stages enforce by themselves.'),
  stages: oneOrMany(z.enum(TRIAL_STAGES))
    .default([...TRIAL_STAGES])
    .describe(
      'Stages on trial. country: countries, of the gate and of classes, and addresses without one. tls: TLS versions below the minimum; clients that need it get TLS 1.0 and up. access: classes that the model or the policy closes, keeps for trusted addresses or ties to hours.',
    ),
  site: oneOrMany(id).optional().describe('Only from these sites.'),
  listener: oneOrMany(id).optional().describe('Only on these listeners, heartbeats and streams.'),
}).describe('A trial.')

/** The block: one trial, or several that differ in place or end. */
export const trial = oneOrMany(entry).describe(
  'What these stages refuse is let pass and recorded instead, until the trial ends: `portcullis trial report` says whom the end would lose. Bans, keys, limits, methods, framing, internal ports, ports of invitations and the gate’s own paths are enforced all the same; rules have modes of their own (rules.modes). Left out: everything is enforced.',
)
