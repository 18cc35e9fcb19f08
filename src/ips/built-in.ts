// Rules of the gate itself: what becomes of a request whose score is reached, or that could not be judged as a whole.
import { AGENT_CLASSES } from '../policy/classes.ts'
import { BUILT_IN } from '../policy/source-line.ts'
import type { RuleDocument } from './rule-document.ts'

/** Pack of the rules of the gate itself. */
export const BUILT_IN_PACK = 'gate'

/** Ids of the rules of the gate itself. */
export type BuiltInId = 'score-threshold' | 'work-budget' | 'body-unreadable'

const COMMON = {
  pack: BUILT_IN_PACK,
  tags: ['gate'],
  refs: [],
  classes: null,
  methods: null,
  products: null,
  notFor: [],
  phase: null,
  action: 'block',
  rate: null,
  enforceAfterDays: null,
  digest: '',
  except: [],
  // Nothing is asked of a request here: these fire by what happened while it was judged.
  when: { all: [] },
  tests: { fires: [], quiet: [] },
  at: BUILT_IN,
} as const

// A fleet must not be lost because a transfer is too large to be judged; a console request can be sent again.
const RECORDED_FOR_AGENTS = {
  mode: 'enforce',
  overrides: [{ mode: 'detect', classes: AGENT_CLASSES, sites: null, listeners: null }],
} as const

/** The rules of the gate itself, as if a file had stated them: modes and exceptions of the policy apply. */
export const BUILT_IN_RULES: readonly (RuleDocument & { readonly id: BuiltInId })[] = [
  {
    ...COMMON,
    id: 'score-threshold',
    title: 'Several rules that score fired on one request',
    severity: 'high',
    mode: 'enforce',
    overrides: [],
  },
  {
    ...COMMON,
    ...RECORDED_FOR_AGENTS,
    id: 'work-budget',
    title: 'Judging the request takes more work than any legitimate request needs',
    severity: 'medium',
  },
  {
    ...COMMON,
    ...RECORDED_FOR_AGENTS,
    id: 'body-unreadable',
    title: 'The body cannot be unpacked or read as a whole, so that rules cannot see all of it',
    severity: 'medium',
  },
]
