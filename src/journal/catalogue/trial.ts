// Events of trials: what only a trial lets pass, and the end of one.
import { REASONS } from '../../policy/reasons.ts'
import { formatTime, plural, type Definitions } from '../definition.ts'

type Names = 'trial.admitted' | 'trial.ended'

/** Definitions of the events about trials. */
export const TRIAL_EVENTS: Definitions<Names> = {
  'trial.admitted': {
    code: 'Y01',
    severity: 'info',
    when: 'Traffic passed only because its stage is on trial. The first of a source, class and reason is reported at once, more of an hour together; the ledger has all of it, and `portcullis trial report` says whom the end of the trial loses.',
    sentence: f =>
      `On trial: ${plural(f.count, 'request or connection', 'requests and connections')}${f.class === null ? '' : ` (${f.class})`} of ${f.address} (${f.country}${f.site === null ? '' : `, site ${f.site}`}) passed on ${f.listener} and would be refused from ${formatTime(f.expiresMs)}: ${REASONS[f.wouldBe].because}${f.saw === '' ? '' : ` (${f.saw})`}; decided by ${f.line}. ${REASONS[f.wouldBe].remedy}`,
    counter: {
      name: 'portcullis_trial_admissions_total',
      help: 'Reports of traffic that only a trial lets pass; each may stand for many requests',
      labels: ['reason', 'class'],
      values: f => [f.wouldBe, f.class ?? 'none'],
    },
    stored: true,
    fromClients: true,
  },
  'trial.ended': {
    code: 'Y02',
    severity: 'warning',
    when: 'A trial of the policy has ended by its date: its stages enforce from now on.',
    sentence: f =>
      `The trial of ${f.stages.join(', ')} (${f.line}) ended on ${formatTime(f.expiresMs)}: what it let pass is refused from now on. Remove it from the policy, or run \`bin/portcullis trial report\` and give it a new end.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
}
