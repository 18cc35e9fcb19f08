// The practice server with real clients: curl, the ws package, raw sockets and datagrams.
import { execFile } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'
import { promisify } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import { request } from 'undici'
import { WebSocket } from 'ws'
import { startPracticeRmm, type PracticeRmm, type PracticeRmmOptions } from '../../src/practice/rmm.ts'
import { digestOf, seededDigest, seededStream } from '../../src/practice/seeded-bytes.ts'
import { testCertificate } from '../support/certificates.ts'

const run = promisify(execFile)

async function start(t: ExecutionContext, options: PracticeRmmOptions = {}): Promise<PracticeRmm> {
  const rmm = await startPracticeRmm(options)
  t.teardown(() => rmm.stop())
  return rmm
}

async function curl(...args: string[]): Promise<string> {
  return (await run('curl', ['--silent', '--show-error', '--max-time', '10', ...args])).stdout
}

/** What happened to a request that fails: the code of the error. */
async function failure(url: string): Promise<string> {
  try {
    const { body } = await request(url)
    await body.arrayBuffer()
    return 'none'
  } catch (error) {
    return String((error as { code?: unknown }).code)
  }
}

const checkIn = (rmm: PracticeRmm, id: string, ...args: string[]): Promise<string> =>
  curl(...args, '--data', `id=${id}`, `${rmm.url}/LabTech/Agent.aspx`)

test('the version page answers in any case and with path-info, as the health probe expects', async t => {
  const rmm = await start(t)
  for (const path of ['/LabTech/Agent.aspx', '/labtech/agent.aspx', '/LABTECH/AGENT.ASPX/x']) {
    t.is(await curl(`${rmm.url}${path}`), '||||||220.105')
  }
})

test('every answer says that this is a practice server', async t => {
  const rmm = await start(t)
  for (const path of ['/LabTech/Agent.aspx', '/automate', '/nowhere', '/practice/echo']) {
    t.regex(await curl('--head', `${rmm.url}${path}`), /^server: Practice-RMM\r$/im, path)
  }
  t.true((await curl(`${rmm.url}/automate/`)).includes('<title>Practice RMM — not a real product</title>'))
})

test('check-ins are counted by agent with the source address', async t => {
  const rmm = await start(t)
  t.regex(await checkIn(rmm, 'pc-1'), /<PracticeCheckIn id="pc-1" checkIns="1" source="127\.0\.0\.1"/)
  await checkIn(rmm, 'pc-1')
  await checkIn(rmm, 'pc-2', '--interface', '127.3.2.1')
  t.deepEqual(
    rmm.agents().map(({ id, checkIns, source }) => ({ id, checkIns, source })),
    [
      { id: 'pc-1', checkIns: 2, source: '127.0.0.1' },
      { id: 'pc-2', checkIns: 1, source: '127.3.2.1' },
    ],
  )
  t.is(rmm.stats().agentsOnline, 2)
})

test('X-Forwarded-For is believed from the gate only, and only what the gate itself wrote', async t => {
  const rmm = await start(t, { trustedPeers: ['127.0.0.9'] })
  const forwarded = ['--header', 'X-Forwarded-For: 198.51.100.66, 203.0.113.7']
  await checkIn(rmm, 'through-gate', '--interface', '127.0.0.9', ...forwarded)
  await checkIn(rmm, 'liar', '--interface', '127.0.0.8', ...forwarded)
  await checkIn(rmm, 'nonsense', '--interface', '127.0.0.9', '--header', 'X-Forwarded-For: <script>')
  t.deepEqual(
    rmm.agents().map(({ source, peer }) => [source, peer]),
    [
      ['203.0.113.7', '127.0.0.9'],
      ['127.0.0.8', '127.0.0.8'],
      ['127.0.0.9', '127.0.0.9'],
    ],
  )
})

test('a bad or oversized check-in is refused', async t => {
  const rmm = await start(t)
  const status = ['--output', '/dev/null', '--write-out', '%{http_code}', `${rmm.url}/LabTech/Agent.aspx`]
  t.is(await curl('--data', 'nothing', ...status), '400')
  const big = await request(`${rmm.url}/LabTech/Agent.aspx`, {
    method: 'POST',
    body: Buffer.alloc(2 ** 20 + 1, 'x'),
  })
  t.is(big.statusCode, 413)
  await big.body.dump()
  t.is(rmm.stats().badCheckIns, 1)
})

test('an agent goes offline when it stays away', async t => {
  let nowMs = 1_000_000
  const rmm = await start(t, { clock: () => nowMs })
  await checkIn(rmm, 'pc-1')
  t.is(rmm.stats().agentsOnline, 1)
  nowMs += 600_000
  t.is(rmm.stats().agentsOnline, 0)
})

test('the console page escapes what agents say of themselves', async t => {
  const rmm = await start(t)
  await curl('--data', '{"id":"x","name":"<img src=x onerror=alert(1)>"}', `${rmm.url}/LabTech/Agent.aspx`)
  const page = await curl(`${rmm.url}/automate`)
  t.false(page.includes('<img'))
  t.true(page.includes('&#60;img src=x onerror=alert(1)&#62;'))
})

test('a deployment needs its token, whatever the case of the parameter', async t => {
  const rmm = await start(t)
  const url = `${rmm.url}/LabTech/Deployment.aspx`
  t.is((await request(url)).statusCode, 401)
  t.is((await request(`${url}?InstallerToken=wrong`)).statusCode, 401)
  const { statusCode, headers, body } = await request(`${url}?installertoken=practice-installer-token`)
  t.is(statusCode, 200)
  t.regex(String(headers['content-disposition']), /practice-agent-220\.105\.msi/)
  const bytes = Buffer.from(await body.arrayBuffer())
  t.is(bytes.length, 2 ** 20)
  t.true(bytes.subarray(0, 80).includes('not an installer'))
  t.is((await request(`${rmm.url}/LabTech/Updates/LabtechUpdate_220.105.zip`)).statusCode, 200)
})

test('100 MB go up and come down unchanged', async t => {
  const rmm = await start(t)
  const bytes = 100 * 2 ** 20
  const url = `${rmm.url}/LabTech/Transfer/big`
  const down = await request(`${url}?seed=7&bytes=${bytes}`)
  t.is(down.headers['content-length'], String(bytes))
  const sha256 = seededDigest('7', bytes)
  t.deepEqual(await digestOf(down.body), { bytes, sha256 })
  const up = await request(url, {
    method: 'PUT',
    body: seededStream('7', bytes),
    headers: { 'x-practice-sha256': sha256 },
  })
  t.is(up.statusCode, 200)
  t.like(await up.body.json(), { bytes, sha256 })
  t.is(rmm.stats().uploadedBytes, bytes)
})

test('a damaged upload is noticed, chunked downloads and digests work', async t => {
  const rmm = await start(t)
  const url = `${rmm.url}/LabTech/Transfer/x`
  const damaged = await request(`${url}?seed=1`, { method: 'POST', body: seededStream('2', 1000) })
  t.is(damaged.statusCode, 409)
  await damaged.body.dump()
  const chunked = await request(`${url}?seed=1&bytes=70000&chunked`)
  t.is(chunked.headers['transfer-encoding'], 'chunked')
  t.is((await digestOf(chunked.body)).sha256, seededDigest('1', 70_000))
  const digest = await request(`${url}?seed=1&bytes=70000&digest`)
  t.like(await digest.body.json(), { sha256: seededDigest('1', 70_000) })
})

test('transfers that clients abandon are counted as such', async t => {
  const rmm = await start(t)
  const url = `${rmm.url}/LabTech/Transfer/x`
  const down = await request(`${url}?bytes=100000000`)
  down.body.on('error', () => undefined)
  down.body.destroy()
  await untilTrue(() => rmm.stats().downloadsAborted === 1)
  const socket = connect(rmm.httpPort, '127.0.0.1')
  socket.write('PUT /LabTech/Transfer/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc')
  await untilTrue(() => rmm.stats().requests === 2)
  socket.destroy()
  await untilTrue(() => rmm.stats().uploadsAborted === 1)
  await untilTrue(() => rmm.stats().connectionsOpen === 0)
  t.is(rmm.stats().uploads, 0)
})

test('three hundred uploads and downloads at once arrive unchanged', async t => {
  const rmm = await start(t)
  const bytes = 200_000
  await Promise.all(
    Array.from({ length: 300 }, async (_, index) => {
      const url = `${rmm.url}/LabTech/Transfer/x?seed=${index}&bytes=${bytes}`
      const up = await request(url, { method: 'POST', body: seededStream(String(index), bytes) })
      t.is(up.statusCode, 200)
      await up.body.dump()
      t.is((await digestOf((await request(url)).body)).sha256, seededDigest(String(index), bytes))
    }),
  )
  t.is(rmm.stats().uploadedBytes, 300 * bytes)
})

test('the SOAP endpoint answers the operation it was asked', async t => {
  const rmm = await start(t)
  const url = `${rmm.url}/LabTech/ControlCenter.asmx`
  const envelope = '<soap:Envelope><soap:Body><GetAgents xmlns="x"/></soap:Body></soap:Envelope>'
  t.regex(
    await curl('--data', envelope, '--header', 'Content-Type: text/xml', url),
    /<GetAgentsResponse .*<agents>0</,
  )
  t.regex(await curl('--data', 'x', url), /soap:Fault/)
  t.regex(await curl(url), /not a real product/)
})

test('the API wants a token and understands conditions', async t => {
  const rmm = await start(t)
  await checkIn(rmm, 'pc-1')
  await checkIn(rmm, 'pc-2')
  const login = (password: string): Promise<string> =>
    curl(
      '--json',
      JSON.stringify({ UserName: 'practice', Password: password }),
      `${rmm.url}/cwa/api/v1/apitoken`,
    )
  t.regex(await login('wrong'), /is wrong/)
  const { AccessToken: token } = JSON.parse(await login('practice')) as { AccessToken: string }
  const list = (query: string, bearer: string): Promise<string> =>
    curl('--header', `Authorization: Bearer ${bearer}`, `${rmm.url}/cwa/api/v1/Computers${query}`)
  t.regex(await list('', 'x'), /bearer token is needed/)
  t.is((JSON.parse(await list('', token)) as unknown[]).length, 2)
  const condition = `?condition=${encodeURIComponent("ComputerName contains '-2'")}`
  t.deepEqual(
    (JSON.parse(await list(condition, token)) as { Id: string }[]).map(computer => computer.Id),
    ['pc-2'],
  )
  t.regex(await list('?condition=1%3D1', token), /conditions are/)
})

test('a redirect shows the inner host in Location and cookie domain', async t => {
  const rmm = await start(t)
  const { statusCode, headers } = await request(`${rmm.url}/automate/practice/redirect`)
  t.is(statusCode, 302)
  t.is(headers['location'], `${rmm.url}/automate?from=redirect`)
  t.regex(String(headers['set-cookie']), /Domain=127\.0\.0\.1;/)
})

test('the echo shows the request exactly as it arrived', async t => {
  const rmm = await start(t)
  const target = '/a/../LabTech/practice/echo?x=%2e'
  const text = await curl('--path-as-is', '--data', 'abc', '--header', 'X-Odd:  y', `${rmm.url}${target}`)
  const { method, headers, ...rest } = JSON.parse(text) as Record<string, unknown> & { headers: string[] }
  t.is(method, 'POST')
  t.like(rest, { target, source: '127.0.0.1', peer: '127.0.0.1', bytes: 3 })
  t.is(headers[headers.indexOf('X-Odd') + 1], 'y')
})

test('slow answers take their time, and a long poll ends with the next check-in or with 204', async t => {
  const rmm = await start(t)
  t.is(await curl(`${rmm.url}/LabTech/Transfer/practice/slow?ms=20`), 'answered after 20 ms\n')
  const polling = request(`${rmm.url}/practice/poll?ms=60000`)
  await untilTrue(() => rmm.stats().requests === 2)
  await checkIn(rmm, 'pc-9')
  t.like(await (await polling).body.json(), { agent: 'pc-9' })
  t.is((await request(`${rmm.url}/practice/poll?ms=1`)).statusCode, 204)
})

test('a WebSocket is echoed, pushed to, pinged and closed', async t => {
  const rmm = await start(t)
  const socket = new WebSocket(`${rmm.url.replace('http', 'ws')}/any/path`, ['practice'])
  await once(socket, 'open')
  t.is(socket.protocol, 'practice')
  const next = async (): Promise<string> => String((await once(socket, 'message'))[0])
  socket.send('hello')
  t.is(await next(), 'hello')
  const large = 'x'.repeat(200_000)
  socket.send(large)
  t.is(await next(), large)
  t.is(rmm.push('news'), 1)
  t.is(await next(), 'news')
  socket.ping('p')
  t.is(String((await once(socket, 'pong'))[0]), 'p')
  socket.close(4000)
  t.is((await once(socket, 'close'))[0], 4000)
  await untilTrue(() => rmm.stats().webSocketsOpen === 0)
  t.is(rmm.stats().webSockets, 1)
})

test('heartbeats are answered from the port they were sent to, never with more bytes', async t => {
  const rmm = await start(t)
  await checkIn(rmm, 'pc-1')
  const socket = createSocket('udp4')
  t.teardown(() => socket.close())
  const ask = async (text: string): Promise<string> => {
    socket.send(text, rmm.udpPort, '127.0.0.1')
    const [message, from] = (await once(socket, 'message')) as [Buffer, { port: number }]
    t.is(from.port, rmm.udpPort)
    return message.toString()
  }
  t.is(await ask('PRACTICE HEARTBEAT pc-1'), 'PRACTICE OK')
  rmm.requestCheckIn('pc-1')
  t.is(await ask('PRACTICE HEARTBEAT pc-1'), 'PRACTICE CHECK-IN')
  t.is(await ask('PRACTICE HEARTBEAT pc-1'), 'PRACTICE OK')
  t.is(await ask('?'), 'P')
  t.is(rmm.agents()[0]?.heartbeats, 3)
  rmm.answerHeartbeats(false)
  socket.send('PRACTICE HEARTBEAT pc-1', rmm.udpPort, '127.0.0.1')
  await untilTrue(() => rmm.stats().heartbeats === 5)
  t.is(rmm.stats().heartbeatReplies, 4)
})

test('every failure mode shows itself and ends', async t => {
  const rmm = await start(t)
  const url = `${rmm.url}/LabTech/Agent.aspx`
  await rmm.fail('refuse')
  t.is(await failure(url), 'ECONNREFUSED')
  await rmm.fail('error')
  const { statusCode, body } = await request(url)
  await body.dump()
  t.is(statusCode, 500)
  await rmm.fail('reset')
  t.regex(await failure(url), /ECONNRESET|UND_ERR_SOCKET/)
  await rmm.fail('hang')
  const before = rmm.stats().requests
  const hung = failure(url)
  await untilTrue(() => rmm.stats().requests > before)
  await rmm.fail({ kind: 'slow', ms: 10 })
  t.regex(await hung, /ECONNRESET|UND_ERR_SOCKET/)
  t.is(await curl(url), '||||||220.105')
  await rmm.fail('none')
  t.is(await curl(url), '||||||220.105')
})

test('it speaks TLS when it is given a certificate', async t => {
  const rmm = await start(t, { tls: await testCertificate(['127.0.0.1']) })
  t.regex(rmm.url, /^https:/)
  t.is(await curl('--insecure', `${rmm.url}/LabTech/Agent.aspx`), '||||||220.105')
})

test('stopping ends every connection at once', async t => {
  const rmm = await startPracticeRmm()
  const idle = connect(rmm.httpPort, '127.0.0.1')
  await once(idle, 'connect')
  const hung = failure(`${rmm.url}/practice/slow?ms=600000`)
  await untilTrue(() => rmm.stats().requests === 1 && rmm.stats().connectionsOpen === 2)
  const ended = once(idle, 'close')
  await rmm.stop()
  await ended
  t.not(await hung, 'none')
})

/** Waits for a condition that events of sockets bring about. */
async function untilTrue(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => void setImmediate(resolve))
}
