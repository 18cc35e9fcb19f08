// MeshCentral and Tactical RMM: mostly WebSockets with JSON messages, and a REST API.
import type { Random } from './random.ts'
import {
  base64,
  form,
  json,
  multipart,
  query,
  send,
  socket,
  type Draft,
  type Profile,
  type Template,
} from './shapes.ts'
import {
  BROWSERS,
  CLIENTS,
  COMMAND_LINES,
  COMPUTERS,
  EVENT_MESSAGES,
  inventory,
  NOTES,
  PASSWORDS,
  PATHS,
  PEOPLE,
  prose,
  SCRIPTS,
  SOFTWARE,
  time,
} from './words.ts'

const for_ =
  (profile: Profile) =>
  (name: string, draft: (random: Random) => Draft): Template => ({ name, profile, draft })
const mesh = for_('meshcentral')
const tactical = for_('tacticalrmm')

const node = (random: Random): string =>
  `node//${base64(random.bytes(48)).replaceAll('+', '@').replaceAll('/', '$')}`
const page = (random: Random): Record<string, string> => ({
  'user-agent': random.pick(BROWSERS),
  origin: 'https://rmm.example.test',
  cookie: `xid=${base64(JSON.stringify({ u: 'user//bob', n: random.hex(20) }))}; xid.sig=${base64(random.bytes(20)).replaceAll('+', '-').replaceAll('/', '_')}`,
})
const token = (random: Random): Record<string, string> => ({
  authorization: `Token ${random.hex(64)}`,
  'user-agent': random.pick([...CLIENTS, ...BROWSERS]),
})

const meshes: readonly Template[] = [
  mesh('agent connects', random =>
    socket(random, '/agent.ashx', [
      Buffer.concat([Buffer.from([0, 1]), random.bytes(96)]),
      random.bytes(random.int(100, 900)),
    ]),
  ),
  mesh('agent sends its state', random =>
    socket(random, '/agent.ashx', [
      random.bytes(98),
      JSON.stringify({
        action: 'coreinfo',
        name: random.pick(COMPUTERS),
        osdesc: 'Microsoft Windows 11 Pro - 23H2/22631',
        users: [random.pick(PEOPLE)],
        value: `Windows MeshCore v6; ${random.pick(COMMAND_LINES)}`,
      }),
    ]),
  ),
  mesh('agent answers a command', random =>
    socket(random, '/agent.ashx', [
      random.bytes(98),
      JSON.stringify({
        action: 'msg',
        type: 'console',
        value: `${random.pick(SCRIPTS)}\r\n${random.pick(EVENT_MESSAGES)}`,
        sessionid: random.hex(12),
      }),
    ]),
  ),
  mesh('console control', random =>
    socket(
      random,
      `/control.ashx?auth=${random.hex(60)}`,
      [
        JSON.stringify({ action: 'authcookie' }),
        JSON.stringify({ action: 'meshes' }),
        JSON.stringify({ action: 'nodes', search: random.pick(PEOPLE) }),
      ],
      page(random),
    ),
  ),
  mesh('console runs commands', random =>
    socket(
      random,
      '/control.ashx',
      [
        JSON.stringify({
          action: 'runcommands',
          nodeids: [node(random)],
          type: random.int(1, 3),
          cmds: random.pick(SCRIPTS),
          runAsUser: 0,
          reply: true,
        }),
      ],
      page(random),
    ),
  ),
  mesh('console edits a device', random =>
    socket(
      random,
      '/control.ashx',
      [
        JSON.stringify({
          action: 'changedevice',
          nodeid: node(random),
          name: random.pick(COMPUTERS),
          desc: random.pick(NOTES),
          tags: random.pick(SOFTWARE),
        }),
      ],
      page(random),
    ),
  ),
  mesh('console sends a message box', random =>
    socket(
      random,
      '/control.ashx',
      [
        JSON.stringify({
          action: 'toast',
          nodeids: [node(random)],
          title: random.pick(PEOPLE),
          msg: random.pick(NOTES),
        }),
      ],
      page(random),
    ),
  ),
  mesh('relay of a desktop', random =>
    socket(
      random,
      `/meshrelay.ashx?browser=1&p=2&nodeid=${encodeURIComponent(node(random))}&id=${random.hex(12)}&auth=${random.hex(40)}`,
      [JSON.stringify({ ctrlChannel: '102938', type: 'options', cols: 80 }), '2', random.bytes(200)],
      page(random),
    ),
  ),
  mesh('relay of files', random =>
    socket(
      random,
      `/meshrelay.ashx?browser=1&p=5&nodeid=${encodeURIComponent(node(random))}`,
      [
        '5',
        JSON.stringify({ action: 'ls', reqid: 1, path: random.pick(PATHS) }),
        JSON.stringify({ action: 'rm', path: random.pick(PATHS), delfiles: ['a..b.txt'] }),
      ],
      page(random),
    ),
  ),
  mesh('relay of a terminal', random =>
    socket(random, '/meshrelay.ashx?browser=1&p=1', ['1', random.pick(SCRIPTS), '\u001b[A\r'], page(random)),
  ),
  mesh('page', random => ({
    target: random.pick([
      '/',
      '/?viewmode=10&gotonode=abc',
      '/login?key=abc',
      '/scripts/common-0.0.1.js',
      '/favicon.ico',
      '/meshagents?id=3&meshid=x$y@z&installflags=0',
      '/translations/de.json',
    ]),
    headers: page(random),
  })),
  mesh('login', random =>
    form(
      '/login',
      {
        action: 'login',
        username: random.pick(PEOPLE),
        password: random.pick(PASSWORDS),
        urlargs: '?viewmode=10&gotonode=x',
      },
      page(random),
    ),
  ),
  mesh('file upload', random =>
    multipart(
      random,
      '/uploadfile.ashx',
      [
        { name: 'attrib', content: 'user//bob' },
        { name: 'link', content: random.pick(PATHS) },
        {
          name: 'files',
          file: random.pick(['report (1).docx', 'a..b.log', 'fix.ps1', 'Ünï.txt']),
          type: 'application/octet-stream',
          content: prose(random),
        },
      ],
      page(random),
    ),
  ),
  mesh('batch upload with paths', random =>
    multipart(
      random,
      '/uploadfilebatch.ashx',
      [
        { name: 'nodeIds', content: node(random) },
        { name: 'winpath', content: random.pick(PATHS) },
        { name: 'linuxpath', content: '/tmp/../tmp/x' },
        { name: 'files', file: 'setup.exe', type: 'application/x-msdownload', content: random.bytes(800) },
      ],
      page(random),
    ),
  ),
  mesh('device file', random => ({
    target: `/devicefile.ashx?c=${random.hex(20)}&m=x&n=${encodeURIComponent(node(random))}&f=${encodeURIComponent(random.pick(PATHS.filter(path => !path.includes('..'))))}`,
    headers: page(random),
  })),
  mesh('web relay', random => ({
    target: `/webrelay.ashx?n=${encodeURIComponent(node(random))}&p=443&appid=2&addr=192.168.1.${random.int(1, 254)}&c=${random.hex(30)}`,
    headers: page(random),
  })),
]

const tacticals: readonly Template[] = [
  tactical('agent check-in', random =>
    json(
      '/api/v3/checkin/',
      {
        agent_id: random.hex(40),
        version: '2.7.0',
        func: random.pick(['hello', 'osinfo', 'winservices', 'publicip', 'disks']),
      },
      token(random),
      'PATCH',
    ),
  ),
  tactical('agent services', random =>
    json('/api/v3/checkin/', { ...inventory(random), func: 'winservices' }, token(random), 'PUT'),
  ),
  tactical('agent software', random =>
    json(
      '/api/v3/software/',
      {
        agent_id: random.hex(40),
        software: random.list(2, 40, () => ({
          name: random.pick(SOFTWARE),
          version: '1.0',
          publisher: random.pick(PEOPLE),
          location: random.pick(PATHS),
        })),
      },
      token(random),
    ),
  ),
  tactical('agent check result', random =>
    json(
      '/api/v3/checkrunner/',
      {
        id: random.int(1, 999),
        stdout: prose(random),
        stderr: random.pick(EVENT_MESSAGES),
        retcode: random.int(0, 1),
        runtime: 1.25,
        log: random.list(0, 8, () => ({
          source: random.pick(SOFTWARE),
          message: random.pick(EVENT_MESSAGES),
          time: time(random),
        })),
      },
      token(random),
      'PATCH',
    ),
  ),
  tactical('agent task result', random =>
    json(
      `/api/v3/${random.int(1, 99)}/${random.hex(40)}/taskrunner/`,
      { stdout: `${random.pick(SCRIPTS)}\n${prose(random)}`, stderr: '', retcode: 0 },
      token(random),
      'PATCH',
    ),
  ),
  tactical('agent NATS', random =>
    socket(random, '/natsws', [
      `CONNECT {"user":"${random.hex(20)}","pass":"${random.hex(20)}","name":"TacticalRMM","lang":"go"}\r\nPING\r\n`,
      `SUB ${random.hex(40)}  1\r\n`,
      `PUB _INBOX.${random.hex(22)} 5\r\nhello\r\n`,
    ]),
  ),
  tactical('console runs a script', random =>
    json(
      `/agents/${random.hex(40)}/runscript/`,
      {
        script: 12,
        output: 'wait',
        args: [random.pick(COMMAND_LINES), '{{agent.hostname}}', random.pick(PEOPLE)],
        env_vars: [`A=${random.pick(NOTES)}`],
        timeout: 90,
      },
      token(random),
    ),
  ),
  tactical('console sends a command', random =>
    json(
      `/agents/${random.hex(40)}/cmd/`,
      {
        cmd: random.pick(SCRIPTS),
        shell: random.pick(['cmd', 'powershell', '/bin/bash']),
        timeout: 30,
        run_as_user: false,
      },
      token(random),
    ),
  ),
  tactical('console saves a script', random =>
    json(
      '/scripts/',
      {
        name: random.pick(SOFTWARE),
        script_body: random.list(1, 8, () => random.pick(SCRIPTS)).join('\n'),
        shell: 'powershell',
        args: ['-Path', random.pick(PATHS)],
      },
      token(random),
      random.pick(['POST', 'PUT']),
    ),
  ),
  tactical('console report template', random =>
    json(
      '/reporting/templates/',
      {
        name: random.pick(PEOPLE),
        template_md: `# {{ client.name }}\n{% for agent in data_sources.agents %}{{ agent.hostname }} {{ 7 * agent.cpu }}{% endfor %}\n${random.pick(NOTES)}`,
        template_css: 'body { background: url(/x.png) }',
        template_variables: 'a: ${b}',
      },
      token(random),
    ),
  ),
  tactical('console client', random =>
    json(
      '/clients/',
      {
        client: { name: random.pick(PEOPLE) },
        site: { name: random.pick(PEOPLE) },
        custom_fields: [{ field: 1, string_value: random.pick(NOTES) }],
      },
      token(random),
    ),
  ),
  tactical('console alert template', random =>
    json(
      '/alerts/templates/',
      {
        name: random.pick(NOTES),
        email_from: 'a@example.com',
        action_rest: {
          url: random.pick([
            'http://localhost:3000/hook',
            'http://10.0.0.5/hook?x={{alert.id}}',
            'https://hooks.example.com/?u=http://x',
          ]),
          body: '{"text":"{{alert.message}}"}',
        },
      },
      token(random),
    ),
  ),
  tactical('registry and event log', random => ({
    target: `/agents/${random.hex(40)}/${random.pick(['eventlog/System/30/', 'processes/', `registry/?${query({ path: random.pick(PATHS.filter(path => path.startsWith('HK'))), page: 1 })}`])}`,
    headers: token(random),
  })),
  tactical('API search', random => ({
    target: `/beta/v1/agent/?${query({ search: random.pick(PEOPLE), ordering: '-last_seen', client__name__in: 'a,b', page: 1 })}`,
    headers: { 'x-api-key': random.hex(32).toUpperCase(), 'user-agent': random.pick(CLIENTS) },
  })),
  tactical('login', random =>
    json(
      '/v2/checkcreds/',
      { username: random.pick(PEOPLE), password: random.pick(PASSWORDS) },
      { 'user-agent': random.pick(BROWSERS) },
    ),
  ),
  tactical('single page', random => ({
    target: random.pick([
      '/',
      '/login',
      '/assets/index-4f2a.js',
      '/env-config.js?v=1',
      '/fonts/a.woff2',
      '/agents/abc?tab=checks%20%26%20tasks',
    ]),
    headers: {
      'user-agent': random.pick(BROWSERS),
      referer: `https://rmm.example.test/?q=${encodeURIComponent(random.pick(NOTES))}`,
    },
  })),
  tactical('dashboard socket', random =>
    socket(random, `/ws/dashinfo/?access_token=${random.hex(64)}`, [JSON.stringify({ action: 'ping' })], {
      origin: 'https://rmm.example.test',
    }),
  ),
  tactical('file of a script library', random =>
    send(
      '/scripts/import/',
      'text/plain; charset=utf-8',
      random.list(1, 5, () => random.pick(SCRIPTS)).join('\n\n'),
      token(random),
    ),
  ),
]

/** Templates of MeshCentral and Tactical RMM. */
export const SOCKETS: readonly Template[] = [...meshes, ...tacticals]
