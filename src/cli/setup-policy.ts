// The policy file that the set-up writes: the answers as YAML, each with a comment that says what was chosen and what else there is.
import { Document } from 'yaml'
import { TRIAL_DAYS, type SetupAnswers } from './setup-questions.ts'

/** Writes the policy. Values go through the YAML library: no answer can end its own line. */
export function setupPolicy(answers: SetupAnswers, day: string): string {
  const answer = (id: string): string => answers[id] ?? ''
  const isSet = (id: string): boolean => answers[id] !== undefined && answers[id] !== 'none'
  const out: string[] = [
    '# yaml-language-server: $schema=schema/portcullis.schema.json',
    '#',
    `# Written by portcullis setup on ${day}. Change it as you like: bin/portcullis check says whether it is right,`,
    '# bin/portcullis plan says who would be lost. Every key is explained in docs/policy-reference.md.',
  ]
  const add = (comments: readonly string[], value: object): void => {
    out.push(
      '',
      ...comments.map(line => `# ${line}`),
      new Document(value).toString({ lineWidth: 0 }).trimEnd(),
    )
  }
  add([], { version: 1 })
  add(['The only countries that anything is open to, unless a class or a site says more.'], {
    home: list(answer('home')),
  })
  add([MODELS[answer('model')] ?? ''], { model: answer('model') })
  add(['The RMM product: a file in profiles/.'], { profile: answer('product') })
  add(
    ['modern: TLS 1.2 and 1.3. Old clients get an exception for their site, with an end: see tlsException.'],
    {
      listeners: { https: { address: answer('listen'), tls: 'modern' } },
    },
  )
  add(
    [
      'The names that agents and technicians use. Every other name is refused.',
      answer('certificate') === 'file'
        ? `Certificate: certs/${answer('name')}.crt and .key (without them the gate makes a development certificate).`
        : 'The gate makes a development certificate, which no agent trusts: replace it before agents come.',
    ],
    { names: { [answer('name')]: { upstream: 'rmm' } } },
  )
  add(
    [
      'Your RMM server. A secondary takes over at once when the primary fails.',
      ...(answer('acl') === 'yes'
        ? ["The server restricts addresses: admit the gate's address there before any agent is moved."]
        : []),
    ],
    {
      upstreams: {
        rmm: {
          primary: answer('upstream'),
          ...(isSet('upstreamName') ? { tls: { serverName: answer('upstreamName') } } : {}),
        },
      },
    },
  )
  if (isSet('heartbeats')) {
    add(['Heartbeats over UDP, answers included. Countries, bans and sites hold for them, too.'], {
      heartbeats: { automate: { address: '0.0.0.0:75', upstream: answer('heartbeats') } },
    })
  }
  if (isSet('trusted')) {
    add(['Your offices and VPN exits: they may use classes whose access is "trusted".'], {
      trusted: list(answer('trusted')).map(address => ({ address, note: 'named at the set-up' })),
    })
  } else {
    out.push(
      '',
      '# Your offices and VPN exits may be named here: they may use classes whose access is "trusted".',
      '# trusted:',
      '#   - { address: 203.0.113.10, note: Head office }',
    )
  }
  if (answer('model') === 'agent-only') {
    out.push(
      '',
      '# New machines: bin/portcullis enroll open --site <id> --for 2h opens deployments to one site for a while.',
    )
  }
  if (answer('trial') === 'yes') {
    add(
      [
        'Trial: rules record what they would refuse, and let it pass. See portcullis trial report; take this out to enforce.',
      ],
      { rules: { modes: [{ mode: 'detect' }] } },
    )
  }
  if (isSet('trialStages')) {
    add(
      [
        'These stages record what they would refuse, and let it pass. After the last day they enforce by themselves.',
        'portcullis trial report says whom that loses, and what helps; portcullis trial end ends it before.',
      ],
      { trial: { expires: lastDayAfter(day), stages: list(answer('trialStages')) } },
    )
  }
  if (isSet('direct') || isSet('egress')) {
    add(
      [
        'The way around the gate and the gate as the server sees it: for template, trial and cutover. Decisions never read it.',
      ],
      {
        deployment: {
          ...(isSet('direct') ? { direct: answer('direct') } : {}),
          ...(isSet('egress') ? { egress: [answer('egress')] } : {}),
        },
      },
    )
  }
  out.push(
    '',
    '# Customer locations, known by their public addresses.',
    '# sites:',
    '#   acme:',
    '#     name: Acme Dental, Springfield',
    '#     addresses: [198.51.100.0/28]',
  )
  return `${out.join('\n')}\n`
}

const MODELS: Readonly<Record<string, string>> = {
  'all-traffic': 'Everything is open to the home countries. Others: agent-only, mixed.',
  'agent-only':
    'Agents pass; enrolment, consoles, API and unknown paths are closed. Others: all-traffic, mixed.',
  mixed: 'Agents pass; everything else only from trusted addresses. Others: all-traffic, agent-only.',
}

function lastDayAfter(day: string): string {
  return new Date(Date.parse(day) + TRIAL_DAYS * 86_400_000).toISOString().slice(0, 10)
}

function list(text: string): readonly string[] {
  return text.split(', ').filter(item => item !== '')
}
