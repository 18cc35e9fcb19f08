// Mistakes in class settings.
import { GOOD_POLICY } from '../support.ts'
import type { Mistake } from './mistake.ts'

const LAST = GOOD_POLICY.split('\n').length

/** The mistakes. */
export const CLASSES_MISTAKES: readonly Mistake[] = [
  // Classes.
  {
    name: 'unknown class',
    add: 'classes: { consle: { access: closed } }\n',
    at: `${LAST}:12`,
    says: /"consle"/,
    hint: /console/,
  },
  {
    name: 'unknown access',
    add: 'classes: { console: { access: office } }\n',
    at: `${LAST}:31`,
    says: /"office" is not a value of access/,
  },
  {
    name: 'key too short',
    add: 'classes: { api: { keys: [{ header: X-Key, value: short }] } }\n',
    at: `${LAST}:50`,
    says: /can be guessed/,
  },
  {
    name: 'key digest of the wrong length',
    add: 'classes: { api: { keys: [{ header: X-Key, sha256: abc }] } }\n',
    at: `${LAST}:51`,
    says: /SHA-256/,
    hint: /64 hex/,
  },
  {
    name: 'key without a place',
    add: 'classes: { api: { keys: [{ value: 0123456789abcdef0123 }] } }\n',
    at: `${LAST}:26`,
    says: /exactly one of header, query and cookie/,
  },
  {
    name: 'key in two places',
    add: 'classes: { api: { keys: [{ header: A, query: b, value: 0123456789abcdef0123 }] } }\n',
    at: `${LAST}:26`,
    says: /exactly one of header/,
  },
  {
    name: 'key without a secret',
    add: 'classes: { api: { keys: [{ header: X-Key }] } }\n',
    at: `${LAST}:26`,
    says: /exactly one of sha256 and value/,
  },
  {
    name: 'query key with odd characters',
    add: 'classes: { api: { keys: [{ query: k, value: "0123456789abcdef+/=" }] } }\n',
    at: `${LAST}:26`,
    says: /may only have letters/,
  },
  {
    name: 'window without hours',
    add: 'classes: { console: { windows: [Mon-Fri] } }\n',
    at: `${LAST}:33`,
    says: /not a time window/,
    hint: /Mon-Fri 07:00-19:00/,
  },
  {
    name: 'window with an unknown day',
    add: 'classes: { console: { windows: ["Montag 07:00-19:00"] } }\n',
    at: `${LAST}:33`,
    says: /names no days/,
  },
  {
    name: 'window with hour 25',
    add: 'classes: { console: { windows: ["Mon 07:00-25:00"] } }\n',
    at: `${LAST}:33`,
    says: /hour that does not exist/,
  },
  {
    name: 'empty window',
    add: 'classes: { console: { windows: ["Mon 07:00-07:00"] } }\n',
    at: `${LAST}:33`,
    says: /is empty/,
  },
  {
    name: 'duration without a unit',
    add: 'classes: { agent: { limits: { response: 30 } } }\n',
    at: `${LAST}:41`,
    says: /response must be text, not the number 30/,
  },
  {
    name: 'duration with a wrong unit',
    add: 'classes: { agent: { limits: { response: 30sec } } }\n',
    at: `${LAST}:41`,
    says: /not a duration/,
    hint: /30s/,
  },
  {
    name: 'duration too short',
    add: 'classes: { agent: { limits: { webSocketIdle: 1s } } }\n',
    at: `${LAST}:46`,
    says: /too short; at least 10s/,
  },
  {
    name: 'size with a wrong unit',
    add: 'classes: { agent: { limits: { maxBody: 10MB } } }\n',
    at: `${LAST}:40`,
    says: /not a size/,
    hint: /10MiB/,
  },
  {
    name: 'method in small letters',
    add: 'classes: { api: { limits: { methods: [get] } } }\n',
    at: `${LAST}:39`,
    says: /"get" is not a request method/,
    hint: /"GET"/,
  },
]
