// Secrets in what hits show: every format that carries a password, and texts made to keep the search busy.
import test from 'ava'
import * as fc from 'fast-check'
import { showValue } from '../../src/ips/redact.ts'
import { withoutSecrets } from '../../src/ips/secret-text.ts'

const SECRET = 'Hunter2Secret'

const shapes: readonly string[] = [
  `password=${SECRET}&a=evil`,
  `password=correct horse ${SECRET}&a=evil`,
  `password=a&${SECRET}&a=evil`,
  `password=a;${SECRET}&a=evil`,
  `password=a, ${SECRET}&a=evil`,
  `password=a"${SECRET}&a=evil`,
  `password=a<${SECRET}&a=evil`,
  `pass%77ord=${SECRET}&a=evil`,
  `user[password]=${SECRET}&a=evil`,
  `ctl00%24Main%24passwordBox=${SECRET}&a=evil`,
  `__VIEWSTATE=${SECRET}&a=evil`,
  `otp=${SECRET}&a=evil`,
  `{"password":"${SECRET}","a":"evil"}`,
  `{"password" : "a, ${SECRET}","a":"evil"}`,
  `{"password":"a\\"${SECRET}","a":"evil"}`,
  `{"password":"a"${SECRET}","a":"evil"}`,
  `{"x":"{\\"password\\":\\"${SECRET}\\"}","a":"evil"}`,
  `{"p\\u0061ssword":"${SECRET}","a":"evil"}`,
  `{"passwords":["x", "${SECRET}"],"a":"evil"}`,
  `{"password":{"value":"${SECRET}"},"a":"evil"}`,
  `{'password': '${SECRET}', 'a': 'evil'}`,
  `<a><password>b ${SECRET}</password><b>evil</b></a>`,
  `<a><o:Password Type="http://x#PasswordText">${SECRET}</o:Password><b>evil</b></a>`,
  `<a><password><![CDATA[${SECRET}]]></password><b>evil</b></a>`,
  `<a password="b ${SECRET}"><b>evil</b></a>`,
  `<a><key>password</key><string>${SECRET}</string><b>evil</b></a>`,
  `--b\r\nContent-Disposition: form-data; name="password"\r\n\r\n${SECRET}\r\n--b\r\n\r\nevil\r\n--b--`,
  `--b\r\nContent-Disposition: form-data; name="password"\r\nContent-Type: text/plain\r\n\r\n${SECRET}\r\n--b--evil`,
  `Authorization: Basic ${SECRET}\r\nevil`,
  `sent bearer ${SECRET} evil`,
  `https://user:${SECRET}@host/ evil`,
  `password: b ${SECRET}\nevil`,
  `Server=x;Pwd=${SECRET};a=evil`,
  `Cookie: sid=${SECRET}; a=evil`,
  `%22password%22%3A%22${SECRET}%22 evil`,
]

for (const [number, shape] of shapes.entries()) {
  test(`trap 39: nothing of secret ${number} is shown: ${JSON.stringify(shape.slice(0, 40))}`, t => {
    for (const text of [shape, shape.toLowerCase(), `evil ${shape}`]) {
      const shown = showValue(text, text.indexOf('evil'), 4, false)
      t.false(shown.toLowerCase().includes(SECRET.toLowerCase()), shown)
    }
  })
}

test('what is no secret is shown', t => {
  for (const text of [
    '/labtech/agent.aspx?id=1',
    'author of monkeys, keys and passes',
    '{"a":"../../etc/passwd"}',
    '<a><b>evil</b></a>',
    "x' or 1=1 --",
  ])
    t.is(withoutSecrets(text, '[gone]'), text)
  t.is(withoutSecrets('{"token":"abc","a":"evil"}', '[gone]'), '{"token":[gone],"a":"evil"}')
  t.is(withoutSecrets('<key>abc</key><b>evil</b>', '[gone]'), '<key>[gone]</key><b>evil</b>')
  t.is(withoutSecrets('pwd=abc&a=evil', '[gone]'), 'pwd=[gone]&a=evil')
})

test('any text ends, and what a form names is never shown', t => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc.string({ maxLength: 60 }),
      (before, after) => {
        const shown = withoutSecrets(`${before}\n"password":"${SECRET}"${after}`, '[gone]')
        return !shown.includes(SECRET)
      },
    ),
    { seed: 29, numRuns: 500 },
  )
  for (const unit of [
    'pwd',
    'token"\n',
    'password<',
    '<password ',
    'token\\u0074',
    '"key" ',
    'eyJaaaaaa.',
    '&',
  ])
    t.true(withoutSecrets(unit.repeat(3_000), '[gone]').length > 0, unit)
})
