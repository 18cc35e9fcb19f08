// The questions of the set-up: each with its default, a reason for asking, and a check that says what is wrong with an answer.
import type { z } from 'zod'
import { cidr, country, endpoint, HINT, hostProblem, plainHost } from '../config/scalars.ts'
import { suggest } from '../config/spelling.ts'
import { addressScope, parseAddress } from '../net/address.ts'
import { TRIAL_STAGES } from '../policy/trial.ts'
import { PRODUCT_TEMPLATES } from '../deploy/templates.ts'

/** What is known before anything is asked. */
export type SetupFacts = {
  /** Profiles that are there. */
  readonly profiles: readonly string[]
  /** Country of this machine by its language setting; null: it says none. */
  readonly country: string | null
  /** 16 random hexadecimal digits. */
  readonly randomName: string
}

/** Answers by question. All are text, as they are typed. */
export type SetupAnswers = Readonly<Record<string, string>>

/** One question. */
export type SetupQuestion = {
  readonly id: string
  readonly ask: string
  readonly why: string
  readonly fallback: (answers: SetupAnswers, facts: SetupFacts) => string
  /** A sentence that says what is wrong; null: the answer is fine. It may be changed to its usual spelling. */
  readonly check: (
    text: string,
    facts: SetupFacts,
  ) => { readonly value: string } | { readonly problem: string }
  /** Whether it is asked at all, after the answers before it. */
  readonly applies?: (answers: SetupAnswers) => boolean
}

type Checked = ReturnType<SetupQuestion['check']>

const NONE = 'none'

function oneOf(words: readonly string[]): SetupQuestion['check'] {
  return text => {
    const value = words.find(word => word === text.toLowerCase())
    if (value !== undefined) return { value }
    const near = suggest(text, words)
    return { problem: `write ${words.join(' or ')}${near === undefined ? '' : ` (did you mean ${near}?)`}` }
  }
}

const yesNo: SetupQuestion['check'] = text => {
  const word = text.toLowerCase()
  if (['y', 'yes', 'true'].includes(word)) return { value: 'yes' }
  return ['n', 'no', 'false'].includes(word) ? { value: 'no' } : { problem: 'write yes or no' }
}

function byScalar(schema: z.ZodType, text: string): Checked {
  const result = schema.safeParse(text)
  if (result.success) return { value: text }
  const [message = 'it cannot be used', hint] = (result.error.issues[0]?.message ?? '').split(HINT)
  return { problem: hint === undefined ? message : `${message}; ${hint}` }
}

function listOf(schema: z.ZodType, change: (text: string) => string): (text: string) => Checked {
  return text => {
    const items = text
      .split(/[\s,]+/)
      .filter(item => item !== '')
      .map(change)
    if (items.length > 100) return { problem: 'at most 100; more belong into the file' }
    for (const item of items) {
      const checked = byScalar(schema, item)
      if ('problem' in checked) return checked
    }
    return items.length === 0 ? { problem: 'name at least one' } : { value: [...new Set(items)].join(', ') }
  }
}

const orNone =
  (check: (text: string) => Checked) =>
  (text: string): Checked =>
    text.toLowerCase() === NONE ? { value: NONE } : check(text)

function upstreamProblem(text: string): Checked {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !/^https?:$/.test(url.protocol))
    return { problem: 'write http://10.0.0.5 or https://10.0.0.5:8443' }
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '')
    return { problem: 'scheme, host and port only: no path' }
  if (url.username !== '' || url.password !== '') return { problem: 'no user name: it would stand in a file' }
  return { value: url.origin }
}

function directProblem(text: string): Checked {
  const match = /^([^:]+)(?::([1-9][0-9]{0,4}))?$/.exec(text)
  const problem = match === null ? ['write a host, or host:port'] : hostProblem(match[1] ?? '', false)
  if (problem !== undefined) return { problem: problem.join('; ') }
  return Number(match?.[2] ?? 443) > 65_535 ? { problem: 'ports end at 65535' } : { value: text }
}

/** How long the stages of a first policy are on trial. */
export const TRIAL_DAYS = 30

function stagesOnTrial(text: string): Checked {
  const words = text.toLowerCase().split(/[\s,]+/)
  const strange = words.find(word => !TRIAL_STAGES.some(stage => stage === word))
  if (strange === undefined) return { value: TRIAL_STAGES.filter(stage => words.includes(stage)).join(', ') }
  const near = suggest(strange, [...TRIAL_STAGES])
  return {
    problem: `write none, or some of ${TRIAL_STAGES.join(', ')}${near === undefined ? '' : ` (did you mean ${near}?)`}`,
  }
}

/** The address of the upstream, when it is one. */
function upstreamAddress(answers: SetupAnswers): string | null {
  const host = URL.canParse(answers['upstream'] ?? '') ? new URL(answers['upstream'] ?? '').hostname : ''
  return parseAddress(host)?.text ?? null
}

/** All questions, in their order. */
export const SETUP_QUESTIONS: readonly SetupQuestion[] = [
  {
    id: 'product',
    ask: 'Which RMM product stands behind the gate?',
    why: 'Its profile says which paths are for agents, deployments, people and programs.',
    fallback: (_, { profiles }) =>
      PRODUCT_TEMPLATES.find(({ id }) => profiles.includes(id))?.id ?? profiles[0] ?? '',
    check: (text, { profiles }) => oneOf(profiles)(text, { profiles, country: null, randomName: '' }),
  },
  {
    id: 'model',
    ask: 'What should the internet reach: all-traffic, agent-only or mixed?',
    why: 'all-traffic: everything from home. agent-only: agents, nothing else. mixed: agents, and people from trusted addresses.',
    fallback: () => 'all-traffic',
    check: oneOf(['all-traffic', 'agent-only', 'mixed']),
  },
  {
    id: 'home',
    ask: 'Home countries (two letters each)?',
    why: 'Nothing is open to any other country unless you say so later. Sites and classes can have more.',
    fallback: (_, facts) => facts.country ?? 'US',
    check: listOf(country, text => text.toUpperCase()),
  },
  {
    id: 'acl',
    ask: 'Does the RMM server, or a firewall before it, restrict addresses already?',
    why: "Behind a gate the server sees the gate's address everywhere: such a list must admit it before agents move.",
    fallback: () => 'no',
    check: yesNo,
  },
  {
    id: 'domain',
    ask: 'Under which of your domains will the gate have its name?',
    why: 'Only used to propose a name in the next question.',
    fallback: () => 'example.com',
    check: text => byScalar(plainHost, text.toLowerCase()),
  },
  {
    id: 'name',
    ask: "The gate's public name?",
    why: 'A name that nobody can guess is never scanned by name; every other name is refused. It needs a DNS record.',
    fallback: ({ domain = 'example.com' }, { randomName }) => `${randomName}.${domain}`,
    check: text => byScalar(plainHost, text.toLowerCase()),
  },
  {
    id: 'certificate',
    ask: 'Certificate: file (you have one, or will have) or development?',
    why: 'file: certs/<name>.crt and .key. development: made by the gate, which no agent trusts; good for a first look.',
    fallback: () => 'file',
    check: oneOf(['file', 'development']),
  },
  {
    id: 'listen',
    ask: 'Address and port to listen on?',
    why: 'Agents take no port: 443. One address instead of 0.0.0.0 when other programs use the rest.',
    fallback: () => '0.0.0.0:443',
    check: text => byScalar(endpoint, text),
  },
  {
    id: 'upstream',
    ask: 'Where is the RMM server, seen from the gate?',
    why: 'The gate forwards to it. https verifies its certificate, so name it as the certificate does, or give its name next.',
    fallback: () => 'https://10.0.0.5',
    check: upstreamProblem,
  },
  {
    id: 'upstreamName',
    ask: "The name in the server's certificate?",
    why: 'The server is reached by its address, so its certificate must be compared with a name.',
    fallback: ({ name = '' }) => name,
    check: text => byScalar(plainHost, text.toLowerCase()),
    applies: answers => (answers['upstream'] ?? '').startsWith('https:') && upstreamAddress(answers) !== null,
  },
  {
    id: 'trusted',
    ask: 'Addresses of your offices and VPN exits (or none)?',
    why: 'They may use what is closed to others. With mixed, nobody can use the console without one.',
    fallback: () => NONE,
    check: orNone(listOf(cidr, text => text)),
  },
  {
    id: 'heartbeats',
    ask: 'Carry heartbeats over UDP: address:port of the server, or none?',
    why: "Automate agents send one every 5 s to UDP port 75; the server's answer calls them in when a technician opens one.",
    fallback: answers => {
      const address = upstreamAddress(answers)
      const parsed = address === null ? undefined : parseAddress(address)
      // On the same machine the port is the server's own: the gate would send to itself.
      if (parsed !== undefined && addressScope(parsed) === 'loopback') return NONE
      return address === null ? NONE : address.includes(':') ? `[${address}]:75` : `${address}:75`
    },
    check: orNone(text => byScalar(endpoint, text)),
    applies: answers => answers['product'] === 'connectwise-automate',
  },
  {
    id: 'direct',
    ask: 'The old, direct address of the server, which agents keep as their secondary (host, or none)?',
    why: 'If the gate ever fails, agents go there by themselves. `template`, `trial` and `cutover` use it.',
    fallback: () => NONE,
    check: orNone(directProblem),
  },
  {
    id: 'egress',
    ask: 'The address from which the gate reaches the server, as its firewall sees it (or none)?',
    why: 'The firewall rule of the cut-over admits only this address, so it must never change by itself.',
    fallback: () => NONE,
    check: orNone(text =>
      parseAddress(text) === undefined
        ? { problem: 'write one address, for example 203.0.113.5' }
        : { value: text },
    ),
  },
  {
    id: 'trial',
    ask: 'Begin with a trial (rules record, and refuse nothing)?',
    why: 'A week of trial shows what rules would refuse: portcullis trial report. The next question is about countries, TLS versions and closed parts.',
    fallback: () => 'yes',
    check: yesNo,
  },
  {
    id: 'trialStages',
    ask: `Which stages only record for ${TRIAL_DAYS} days, too: country, tls, access (or none)?`,
    why: `For a fleet of which nobody knows where it is and how old: what these stages would refuse passes and is recorded, and after ${TRIAL_DAYS} days they enforce by themselves. Meanwhile country opens the gate to the whole world, tls takes TLS 1.0 from old clients, access opens what the model closes.`,
    fallback: () => NONE,
    check: orNone(stagesOnTrial),
    applies: answers => answers['trial'] === 'yes',
  },
]
