// Events of roll-outs and of the way to the cut-over.
import { formatTime, stop, type Definitions } from '../definition.ts'

type Names = 'opening.made' | 'opening.ended'

const scopeOf = (range: string): string =>
  range.startsWith('site:') ? `site ${range.slice('site:'.length)}` : range

/** Definitions of the events of deployments. */
export const DEPLOYMENT_EVENTS: Definitions<Names> = {
  'opening.made': {
    code: 'O01',
    severity: 'warning',
    when: 'A class was opened to a site or a range for a while.',
    sentence: f =>
      `${f.owner} opened ${f.classes.join(', ')} for ${scopeOf(f.range)} until ${formatTime(f.expiresMs)}: ${stop(f.reason)} It ends by itself, or with \`portcullis enroll close\`.`,
    counter: null,
    stored: true,
    fromClients: false,
  },
  'opening.ended': {
    code: 'O02',
    severity: 'info',
    when: 'The opening of a class has ended or was taken back.',
    sentence: f => `The opening for ${scopeOf(f.range)} by ${f.owner} has ended: ${stop(f.why)}`,
    counter: null,
    stored: true,
    fromClients: false,
  },
}
