// Mistakes about countries, addresses and sites.
import { GOOD_POLICY } from '../support.ts'
import type { Mistake } from './mistake.ts'

const LAST = GOOD_POLICY.split('\n').length
const site = (text: string): string => `sites:\n  acme:\n    addresses: [198.51.100.0/24]\n${text}`
const exception = (text: string): string => site(`    tlsException: ${text}\n`)

/** The mistakes. */
export const SOURCES_MISTAKES: readonly Mistake[] = [
  // Countries (trap 24).
  {
    name: 'trap 24: truth value in a country list',
    replace: ['[US]', '[US, false]'],
    at: '2:12',
    says: /truth value false/,
    hint: /Norway/,
  },
  { name: 'number in a country list', replace: ['[US]', '[US, 1]'], at: '2:12', says: /number 1/ },
  {
    name: 'unknown country',
    replace: ['[US]', '[UX]'],
    at: '2:8',
    says: /"UX" is not an ISO 3166-1 country code/,
  },
  { name: 'UK', replace: ['[US]', '[UK]'], at: '2:8', says: /"UK"/, hint: /did you mean GB/ },
  {
    name: 'country by name',
    replace: ['[US]', '[Norway]'],
    at: '2:8',
    says: /"Norway"/,
    hint: /did you mean NO/,
  },
  { name: 'country in small letters', replace: ['[US]', '[us]'], at: '2:8', says: /"us"/, hint: /US/ },
  {
    name: 'EU',
    add: 'classes: { agent: { countries: [home, EU] } }\n',
    at: `${LAST}:39`,
    says: /"EU" is not a country/,
  },
  {
    name: 'any inside a list',
    add: 'classes: { agent: { countries: [home, any] } }\n',
    at: `${LAST}:39`,
    says: /"any" stands alone/,
    hint: /countries: any/,
  },
  // Trials.
  {
    name: 'trial without an end',
    add: 'trial: { stages: [country] }\n',
    at: `${LAST}:8`,
    says: /expires is required/,
  },
  {
    name: 'trial of a stage that always enforces',
    add: 'trial: { expires: 2099-01-01, stages: [country, ban] }\n',
    at: `${LAST}:49`,
    says: /"ban" is not a value/,
    hint: /country, tls, access/,
  },
  {
    name: 'trial at a site that is not there',
    add: 'trial: [{ expires: 2099-01-01, site: nowhere }]\n',
    at: `${LAST}:38`,
    says: /there is no site "nowhere"/,
  },
  {
    name: 'trial on a misspelt listener',
    add: 'trial: { expires: 2099-01-01, listener: htps }\n',
    at: `${LAST}:41`,
    says: /there is no listener "htps"/,
    hint: /https/,
  },
  // Addresses.
  {
    name: 'host bits',
    add: 'trusted: [203.0.113.7/24]\n',
    at: `${LAST}:11`,
    says: /not a network/,
    hint: /203\.0\.113\.0\/24 or the one address 203\.0\.113\.7/,
  },
  {
    name: 'prefix out of range',
    add: 'trusted: [203.0.113.0/33]\n',
    at: `${LAST}:11`,
    says: /impossible prefix/,
  },
  {
    name: 'name for an address',
    add: 'trusted: [office.example.com]\n',
    at: `${LAST}:11`,
    says: /not an address or range/,
    hint: /names are not resolved/,
  },
  { name: 'octal address', add: 'trusted: [203.000.113.7]\n', at: `${LAST}:11`, says: /not an address/ },
  { name: 'everybody trusted', add: 'trusted: [0.0.0.0/0]\n', at: `${LAST}:11`, says: /everybody/ },
  {
    name: 'everybody banned',
    add: 'bans:\n  - { address: "::/0", reason: x, owner: y }\n',
    at: `${LAST + 1}:5`,
    says: /close the gate/,
  },
  {
    name: 'everybody allowed',
    add: 'allow:\n  - { address: 0.0.0.0/0, reason: x, owner: y }\n',
    at: `${LAST + 1}:5`,
    says: /everybody/,
  },
  {
    name: 'ban without a reason',
    add: 'bans:\n  - { address: 192.0.2.1, owner: y }\n',
    at: `${LAST + 1}:5`,
    says: /reason is required/,
  },
  {
    name: 'allow without an owner',
    add: 'allow:\n  - { address: 192.0.2.1, reason: y }\n',
    at: `${LAST + 1}:5`,
    says: /owner is required/,
  },
  {
    name: 'two countries for one range',
    add: 'geo:\n  overrides:\n    - { address: 192.0.2.0/24, country: US, reason: x }\n    - { address: 192.0.2.0/24, country: CA, reason: x }\n',
    at: `${LAST + 3}:18`,
    says: /two countries/,
  },
  // Sites.
  {
    name: 'two sites with one range',
    add: site('  borealis: { addresses: [198.51.100.0/24] }\n'),
    at: `${LAST + 3}:27`,
    says: /already belongs to site acme/,
  },
  {
    name: 'range twice in a site',
    add: 'sites: { acme: { addresses: [192.0.2.1, 192.0.2.1] } }\n',
    at: `${LAST}:41`,
    says: /listed twice/,
  },
  {
    name: 'site without addresses',
    add: 'sites: { acme: { addresses: [] } }\n',
    at: `${LAST}:29`,
    says: /at least 1 entry/,
  },
  {
    name: 'site id with capitals',
    add: 'sites: { Acme: { addresses: [192.0.2.1] } }\n',
    at: `${LAST}:10`,
    says: /"Acme" is not an id/,
    hint: /small letters/,
  },
  {
    name: 'TLS exception without an owner',
    add: exception('{ minimum: TLSv1, reason: x, expires: 2027-03-31 }'),
    at: `${LAST + 3}:19`,
    says: /owner is required/,
  },
  {
    name: 'TLS exception without an end',
    add: exception('{ minimum: TLSv1, reason: x, owner: y }'),
    at: `${LAST + 3}:19`,
    says: /expires is required/,
  },
  {
    name: 'TLS exception without a reason',
    add: exception('{ minimum: TLSv1, owner: y, expires: 2027-03-31 }'),
    at: `${LAST + 3}:19`,
    says: /reason is required/,
  },
  {
    name: 'day that does not exist',
    add: exception('{ minimum: TLSv1, reason: x, owner: y, expires: 2027-02-30 }'),
    at: `${LAST + 3}:67`,
    says: /not a day of the calendar/,
  },
  {
    name: 'date in another order',
    add: exception('{ minimum: TLSv1, reason: x, owner: y, expires: 31.03.2027 }'),
    at: `${LAST + 3}:67`,
    says: /not a date/,
    hint: /year-month-day/,
  },
  {
    name: 'TLS version unknown',
    add: exception('{ minimum: TLS1.0, reason: x, owner: y, expires: 2027-03-31 }'),
    at: `${LAST + 3}:30`,
    says: /"TLS1.0" is not a value/,
    hint: /TLSv1/,
  },
]
