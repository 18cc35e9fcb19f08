// A fix is pasted into the policy: whatever a client sends as path, field or name must not say anything else there.
import * as fc from 'fast-check'
import test from 'ava'
import { parse } from 'yaml'
import * as fixes from '../../src/diagnose/fixes.ts'
import { site } from '../support/snapshot.ts'

const context = { address: '203.0.113.7', site: null, commandOptions: '', nowMs: Date.UTC(2026, 10, 21) }

test('an exception holds rule, source, reason, owner and end, and path and field only where they are plain', t => {
  const hostile = fc.oneof(
    fc.string(),
    fc.constantFrom(
      '/a"]\n      sources: [0.0.0.0/0',
      '/a\n    - rule: other',
      '/x/../y',
      '//x',
      '/a*',
      '/',
      '/%41',
      'args.a]',
      'args.A',
      'body\nmodes: {}',
    ),
  )
  fc.assert(
    fc.property(hostile, hostile, (path, field) => {
      const { yaml } = fixes.ruleException(context, { ruleId: 'r', path, field })
      const written = parse(yaml ?? '') as { rules: { exceptions: readonly Record<string, unknown>[] } }
      t.deepEqual(Object.keys(written), ['rules'])
      const [exception, ...others] = written.rules.exceptions
      t.is(others.length, 0)
      const { paths, fields, ...rest } = exception ?? {}
      t.deepEqual(rest, {
        rule: 'r',
        sources: ['203.0.113.7'],
        reason: 'why this is legitimate',
        owner: 'your name',
        expires: '2027-02-19',
      })
      t.true(paths === undefined || (Array.isArray(paths) && paths[0] === path.toLowerCase()))
      t.true(fields === undefined || (Array.isArray(fields) && fields[0] === field))
    }),
  )
})

test('a plain path and field narrow the exception', t => {
  const { yaml } = fixes.ruleException(context, { ruleId: 'r', path: '/Automate/x.y', field: 'args.file' })
  t.regex(yaml ?? '', /paths: \["\/automate\/x\.y"\]\n +fields: \["args\.file"\]/)
})

test('deployment paths are opened by `enroll open`, for the site, or the address that belongs to none', t => {
  const acme = site('acme', ['203.0.113.0/24'])
  const told = (of: typeof acme | null): string =>
    JSON.stringify(fixes.openClass({ ...context, site: of }, 'class-closed', ['enroll']))
  t.regex(told(acme), /enroll open --site acme --for 2h/)
  t.regex(told(null), new RegExp(`enroll open --address ${context.address} --for 2h`))
  t.notRegex(told(acme), /portcullis allow/)
})

test('what is added to a recorded site repeats nothing of it', t => {
  const acme = site('acme', ['203.0.113.0/24'])
  const { yaml } = fixes.openClass({ ...context, site: acme }, 'class-closed', ['console', 'api'])
  t.deepEqual(parse(yaml ?? ''), {
    sites: { acme: { classes: { console: { access: 'open' }, api: { access: 'open' } } } },
  })
})

test('an IPv6 address is recorded with its network and quoted, and its new site has an id that policies take', t => {
  const { yaml } = fixes.admitCountry({ ...context, address: '2001:db8::7' }, 'NO', {
    resolved: { kind: 'unknown' },
    first: null,
    second: null,
    databaseLoaded: true,
  })
  t.deepEqual(parse(yaml ?? ''), {
    sites: {
      'site-2001-db8-7': { name: 'Name of the customer', addresses: ['2001:db8::/64'], countries: ['NO'] },
    },
  })
})
