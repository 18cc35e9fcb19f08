// SQL injection: values that change a statement, values that only look like it, and what no disguise may change.
import test from 'ava'
import * as fc from 'fast-check'
import { detectSqli } from '../../../src/ips/injection/sqli.ts'

const ATTACKS: readonly string[] = [
  '77 Or 3=3',
  "none' or 'b'='b",
  'none" or "b"="c',
  "x' or 1=1-- -",
  "x') or ('a'='a",
  "\\' or 1=1-- ",
  "admin'--",
  "admin'#",
  "admin')/*",
  "'='",
  "'-'",
  "' or ''='",
  "'+sleep(2)+'",
  "'||(select 1)||'",
  "printer' and 8=9",
  "desk' and sleep(7) --",
  "desk') union distinct select null, null --",
  "desk')waitfor delay'0:1:7'--",
  '1 union select user,password from users',
  '1/**/union/**/select/**/1,2',
  '1 /*!50000union*/ select 1',
  "8'union+distinct+select+7,8+from+devices",
  '1 and 1=-1 union select 1,user(),3',
  'sleep(7)',
  '1-sleep(5)',
  '1,(select sleep(5))',
  '1 and ascii(substring((select 1),1,1))>64',
  '(select 1)',
  '1 order by 10--',
  "1' group by x having 1=1--",
  '1 procedure analyse()',
  "' into outfile '/var/www/x.php",
  '1;select pg_sleep(5)',
  "1; exec xp_cmdshell 'dir'",
  "'; drop table users;--",
  "x'; declare @s varchar(99); exec(@s)--",
  '0x1 or 1 like 1',
  "1' and extractvalue(1,concat(0x7e,version()))-- ",
  '1 or 1=1\0',
  "1'\t\n\v\for\f1=1#",
]

const HARMLESS: readonly string[] = [
  '',
  'Online',
  "o'brien",
  "D'Angelo or O'Neil",
  "Jan's PC (old) #2",
  "rock 'n' roll",
  "Tom & Jerry's",
  `5' 10"`,
  "it's 5 o'clock; drop me a line",
  "Don't -- just don't go there",
  '12 and 13',
  '1 or 2 times',
  'order by phone',
  'union select committee',
  'Please select one from the list, or update your profile',
  "Union meeting: please select all attendees, don't update Bob's PC",
  '(555) 123-4567',
  'user@example.com; other@example.com',
  'C:\\Program Files\\App\\bin\\app.exe',
  '{"name":"PC-1","os":"Windows 10","ip":"10.0.0.1"}',
  "Status eq 'Online' and Client.Id = 12",
  "Computer.LocationId=3 and Computer.Type='Server'",
  "LastContact > 2024-01-01 and Type in ('Server','Workstation')",
  "(Type = 'Server') and (Id > 5)",
  '(Id = 1) or (Id = 2)',
  "Client.Name like 'A%'",
  'a=1&b=2&c=3',
  'text/html,application/xhtml+xml;q=0.9,*/*;q=0.8',
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0',
  'Get-Process | Where-Object { $_.CPU -gt 10 } | Select-Object Name',
  "if (a == 1 && b == 2) { return 'x'; }",
  `<a href="/x/y" title='z'>`,
  'data:image/png;base64,iVBORw0KGgo=',
  '2027-01-01T10:00:00+01:00',
  '{6F9619FF-8B86-D011-B42D-00CF4FC964FF}',
]

for (const value of ATTACKS) {
  test(`attack: ${JSON.stringify(value)}`, t => {
    const shape = detectSqli(value)
    t.truthy(shape)
    t.true((shape ?? '').length <= 8)
  })
}

for (const value of HARMLESS) {
  test(`harmless: ${JSON.stringify(value)}`, t => {
    t.is(detectSqli(value), null)
  })
}

test('the fingerprint is the shape: one letter per operand and operator', t => {
  t.is(detectSqli('1 or 2=2'), '1&1=1')
  t.is(detectSqli("x' or (1+1)*3 = 6"), 's&1=1')
  t.is(detectSqli('1 union all select 2'), '1US1')
  t.is(detectSqli("a'; drop table b"), 's;K')
})

const CORE = [
  '1 or 1=1',
  "x' or 2=2 -- ",
  '1 union select 1,2',
  "x') and sleep(3) -- ",
  "x'; drop table y; -- ",
]

test('case, blanks, comments in place of blanks, and signs change nothing', t => {
  const seed = 20_270
  const blank = fc.constantFrom(' ', '\t', '\n', '  ', '/**/', '/*x*/', ' /**/ ', '\xa0', '--\n', '#x\n')
  fc.assert(
    fc.property(
      fc.constantFrom(...CORE),
      fc.array(blank, { minLength: 8, maxLength: 8 }),
      fc.array(fc.boolean(), { minLength: 40, maxLength: 40 }),
      fc.constantFrom('', '-', '+', '- -', '~', '1+', '0x1f*'),
      (core, blanks, upper, sign) => {
        let next = 0
        const spaced = core.replaceAll(/ (?=.)(?<!-- )/g, () => blanks[next++ % blanks.length] ?? ' ')
        const cased = Array.from(spaced, (c, i) => (upper[i % 40] === true ? c.toUpperCase() : c)).join('')
        const signed = core.startsWith('1') ? sign + cased : cased
        return detectSqli(signed) !== null
      },
    ),
    { seed, numRuns: 2_000 },
  )
  t.pass()
})

test('what stands in the string before the quote does not matter', t => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom(...'abc 019.,:;()-_=<>@'.split('')), maxLength: 40 }),
      before => {
        return (
          detectSqli(`${before}' or 1=1 -- `) !== null && detectSqli(`${before}" union select 1 -- `) !== null
        )
      },
    ),
    { seed: 7, numRuns: 2_000 },
  )
  t.pass()
})

test('words and numbers without a sign in them are never an attack', t => {
  const word = fc.constantFrom(
    ...'select all from where and or not order by the agent 12 7 3xl server group like in is'.split(' '),
  )
  fc.assert(
    fc.property(fc.array(word, { maxLength: 3 }), fc.constantFrom('note', 'the', 'agent'), (rest, first) => {
      return detectSqli([first, ...rest].join(' ')) === null
    }),
    { seed: 8, numRuns: 2_000 },
  )
  t.pass()
})

const UNITS =
  `( ((1) 1+ 1, 1= ; /* /**/ /*! -- # @ @@a [ 0x 1e sleep( 'a'+ \\ \\' '' '||' f(1)+ (1+1), ' " \` & | x=1&`.split(
    ' ',
  )

test('64 KB of anything comes to an end, and any bytes give an answer', t => {
  for (const unit of [...UNITS, '1 and ', 'union ', "' or ", '--\n', '\0', '\xff', '1 ', ' ']) {
    for (const before of ['', '1 ', "' "]) {
      const text = before + unit.repeat(Math.ceil(65_536 / unit.length))
      const verdict = detectSqli(text)
      t.true(verdict === null || verdict.length <= 8, JSON.stringify(unit))
    }
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), bytes => {
      const verdict = detectSqli(String.fromCharCode(...bytes))
      return verdict === null || verdict.length <= 8
    }),
    { seed: 9, numRuns: 2_000 },
  )
})
