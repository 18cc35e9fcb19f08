// ScreenConnect, Kaseya, N-central and the servers that stand beside them.
import { postBack } from './automate.ts'
import type { Random } from './random.ts'
import {
  base64,
  encode,
  form,
  json,
  multipart,
  send,
  soap,
  socket,
  xmlText,
  zip,
  type Draft,
  type Profile,
  type Template,
} from './shapes.ts'
import {
  address,
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
const screenConnect = for_('screenconnect')
const kaseya = for_('kaseya-vsa')
const nCentral = for_('n-central')

const browser = (random: Random): Record<string, string> => ({
  'user-agent': random.pick(BROWSERS),
  'accept-language': 'en-US,en;q=0.9',
  cookie: `session=${random.hex(64)}; settings=${encodeURIComponent(JSON.stringify({ cols: ['Name', "User's"], last: random.pick([...COMPUTERS, ...SOFTWARE]) }))}`,
  referer: `https://rmm.example.test/Host?q=${encodeURIComponent(random.pick([...COMPUTERS, ...NOTES]))}`,
})

/** Filters in OData and the like. */
const ODATA = [
  "$filter=substringof('web',ComputerName) and Status eq 'Online' or 1 eq 1",
  "$filter=(AgentName eq 'o''brien') and (LastCheckIn gt 2026-01-01T00:00:00Z)&$orderby=Name asc&$top=100&$skip=200",
  "$select=Name,Id&$filter=startswith(Name,'SELECT') or contains(Name,'union')",
  '$expand=Site($select=Id;$filter=Id eq 3)&$count=true',
] as const

const SAML = `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" Destination="https://rmm.example.test/saml"><saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"><ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:Transforms><ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/></ds:Transforms></ds:Signature><saml:Subject>`

const screenConnects: readonly Template[] = [
  screenConnect('console page', random => ({
    target: random.pick([
      '/Host',
      '/Login?Reason=7',
      '/',
      '/Administration?Tab=1',
      '/Script.ashx?__Cache=abc',
      '/Host/Access/All%20Machines/',
      "/Host/Access/O'Brien%20Sites//Join",
    ]),
    headers: browser(random),
  })),
  screenConnect('login', random =>
    postBack(random, '/Login', {
      ctl00$Main$userNameBox: random.pick(PEOPLE),
      ctl00$Main$passwordBox: random.pick(PASSWORDS),
      ctl00$Main$ctl05: 'Login',
    }),
  ),
  screenConnect('live data', random =>
    json(
      '/Services/PageService.ashx/GetLiveData',
      [
        {
          HostSessionInfo: {
            sessionType: 2,
            sessionGroupPathParts: [random.pick(PEOPLE)],
            filter: `NOT (GuestMachineName LIKE '*${random.pick(COMPUTERS)}*') AND CustomProperty1 = '${random.pick(SOFTWARE)}'`,
          },
        },
        random.int(0, 9e6),
      ],
      browser(random),
    ),
  ),
  screenConnect('technician runs a command', random =>
    json(
      '/Services/PageService.ashx/AddEventToSessions',
      [[random.pick(PEOPLE)], [random.guid()], 44, `#!ps\n#timeout=90000\n${random.pick(SCRIPTS)}`],
      browser(random),
    ),
  ),
  screenConnect('technician renames a session', random =>
    json(
      '/Services/PageService.ashx/UpdateSessions',
      [[random.guid()], [random.pick(PEOPLE), random.pick(NOTES)]],
      browser(random),
    ),
  ),
  screenConnect('session group filter', random =>
    json(
      '/Services/SessionGroupService.ashx/SaveSessionGroups',
      [
        {
          Name: random.pick(PEOPLE),
          SessionFilter:
            "SessionType = 'Access' AND (GuestOperatingSystemName LIKE '%Server%' OR GuestLoggedOnUserName <> '') AND NOT CustomProperty2 = 'x'",
          SubgroupExpressions: 'CustomProperty1',
        },
      ],
      browser(random),
    ),
  ),
  screenConnect('extension call', random =>
    json(
      `/App_Extensions/${random.guid()}/Service.ashx/${random.pick(['GetNotes', 'RunToolboxItem', 'SendCommandToSession'])}`,
      [random.guid(), random.pick([...SCRIPTS, ...NOTES])],
      browser(random),
    ),
  ),
  screenConnect('extension is installed', random =>
    json(
      '/Services/ExtensionService.ashx/InstallExtension',
      [
        base64(
          zip([
            { name: `${random.guid()}/Manifest.xml`, content: Buffer.from('<Manifest/>') },
            { name: `${random.guid()}/Service.ashx`, content: Buffer.from('<%@ WebHandler %>') },
          ]),
        ),
      ],
      browser(random),
    ),
  ),
  screenConnect('installer', random => ({
    target: `/Bin/ScreenConnect.ClientSetup.msi?${encode({ e: 'Access', y: 'Guest', c: random.pick(PEOPLE), t: random.pick(COMPUTERS) })}&c=&c=&h=relay.example.test&p=8041&k=${base64(random.bytes(200)).replaceAll('+', '%2B')}`,
    headers: { 'user-agent': random.pick(CLIENTS) },
  })),
  screenConnect('relay over a WebSocket', random =>
    socket(
      random,
      '/Relay',
      random.list(1, 4, () => random.bytes(random.int(8, 600))),
    ),
  ),
  screenConnect('toolbox upload', random =>
    multipart(
      random,
      '/Services/ToolboxService.ashx/Upload',
      [
        {
          name: 'file',
          file: random.pick(['fix printer.ps1', 'cleanup.bat', 'setup (1).msi', "Bob's tool.exe"]),
          type: 'application/octet-stream',
          content: random.pick(SCRIPTS),
        },
      ],
      browser(random),
    ),
  ),
]

const kaseyas: readonly Template[] = [
  kaseya('OData filter', random => ({
    target: `/api/v1.0/assetmgmt/agents?${encodeURI(random.pick(ODATA))}`,
    headers: { authorization: `Bearer ${random.digits(20)}`, 'user-agent': random.pick(CLIENTS) },
  })),
  kaseya('OData filter, encoded', random => ({
    target: `/api/v1.0/system/machinegroups?${random
      .pick(ODATA)
      .split('&')
      .map(pair => encodeURIComponent(pair).replace('%3D', '='))
      .join('&')}`,
    headers: { authorization: `Basic ${base64('u:p')}` },
  })),
  kaseya('API saves a procedure', random =>
    json(
      '/api/v1.0/automation/agentprocs',
      {
        Name: random.pick(NOTES),
        ScriptPrompts: [{ Caption: 'cmd', Name: 'cmd', Value: random.pick(SCRIPTS) }],
      },
      { 'user-agent': random.pick(CLIENTS) },
      'PUT',
    ),
  ),
  kaseya('API uploads a file', random =>
    multipart(random, '/api/v1.0/assetmgmt/documents/1/upload', [
      {
        name: 'file',
        file: random.pick(['Manual v2..3.pdf', 'invoice (März).xlsx', 'deploy.ps1']),
        type: 'application/octet-stream',
        content: random.bytes(random.int(10, 2000)),
      },
    ]),
  ),
  kaseya('user portal', random => ({
    target: `/UserPortal/?agentGuid=${random.digits(18)}&name=${encodeURIComponent(random.pick(COMPUTERS))}`,
    headers: browser(random),
  })),
  kaseya('installer', () => ({ target: '/mkDefault.asp?id=45672311' })),
  kaseya('agent package', random => ({
    target: `/api/v2.0/AssetManagement/asset/download-agent-package?packageid=${random.digits(8)}`,
  })),
  kaseya('help', () => ({
    target: '/gethelp.asp?topic=Remote%20Control%3A%20how%20do%20I%3F&page=/index.htm',
  })),
  kaseya('login', random =>
    form(
      '/vsapres/web20/core/login.aspx',
      { UsernameTextbox: random.pick(PEOPLE), PasswordTextbox: random.pick(PASSWORDS), reqType: 'login' },
      browser(random),
    ),
  ),
  kaseya('agent status', random =>
    soap('/ARS/v1.0/status.asmx', 'KaseyaARS', 'Report', {
      machine: random.pick(COMPUTERS),
      audit: JSON.stringify(inventory(random)),
    }),
  ),
  kaseya('web service', random =>
    soap('/vsaWS/KaseyaWS.asmx', 'KaseyaWS', 'RunScript', {
      ScriptName: random.pick(NOTES),
      Machine_GroupID: random.pick(COMPUTERS),
      Args: random.pick(SCRIPTS),
    }),
  ),
  kaseya('Live Connect file list', random =>
    json(
      '/vsapres/api/files/list',
      { path: random.pick(PATHS), recurse: false, pattern: '*.*' },
      browser(random),
    ),
  ),
]

const nCentrals: readonly Template[] = [
  nCentral('agent logs', random =>
    soap('/dms/services/ServerMMS', 'http://mms.example.com/', 'applianceLogSubmit', {
      applianceId: random.int(1, 999),
      contents: base64(prose(random)),
    }),
  ),
  nCentral('agent asset', random =>
    soap('/dms/services/ServerMMS', 'http://mms.example.com/', 'assetSubmit', {
      name: random.pick(COMPUTERS),
      asset: JSON.stringify(inventory(random)),
      cmd: random.pick(COMMAND_LINES),
    }),
  ),
  nCentral('agent events', random =>
    soap('/dms2/services2/ServerMMS2', 'http://mms.example.com/', 'eventSubmit', {
      message: random.pick(EVENT_MESSAGES),
      at: time(random),
    }),
  ),
  nCentral('API call', random =>
    soap('/dms2/services2/ServerEI2', 'http://ei2.nobj.nable.com/', 'deviceList', {
      username: random.pick(PEOPLE),
      password: random.pick(PASSWORDS),
      settings: `<key>customerID</key><value>${random.int(1, 99)}</value>`,
    }),
  ),
  nCentral('console saves a script', random =>
    soap('/dms/services/ServerUI', 'http://ui.example.com/', 'scriptTaskAdd', {
      script: random.pick(SCRIPTS),
      parameters: random.pick(COMMAND_LINES),
    }),
  ),
  nCentral('console page', random => ({
    target:
      random
        .pick([
          '/login',
          '/',
          '/deepLinkAction.do?method=deviceRC&customerID=50&deviceID=123456789&language=en_US',
          '/soDetailsAction.action?path=%2Fdevices%2F1&tab=Tools',
          '/so/#/dash',
        ])
        .split('#')[0] ?? '/',
    headers: browser(random),
  })),
  nCentral('login', random =>
    form(
      '/login',
      {
        username: `${random.pick(PEOPLE)}@example.com`,
        password: random.pick(PASSWORDS),
        twofa: random.digits(6),
      },
      browser(random),
    ),
  ),
  nCentral('device notes in an action', random =>
    form(
      '/noteSaveAction.action',
      { note: prose(random), deviceID: random.digits(9), redirect: '/devices/index.do?method=list' },
      browser(random),
    ),
  ),
  nCentral('JSON filter', random =>
    json(
      '/api/devices/search',
      {
        filter: { field: 'longName', operator: 'like', value: `%${random.pick(PEOPLE)}%` },
        select: 'longName,customerName',
        sort: '-lastSeen',
      },
      { authorization: `Bearer ${random.hex(80)}` },
    ),
  ),
  nCentral('software upload', random =>
    multipart(
      random,
      '/softwareUploadAction.action',
      [
        { name: 'description', content: random.pick(NOTES) },
        {
          name: 'upload',
          file: random.pick(['agent.msi', 'hotfix KB5034441.msu', 'my script.vbs']),
          type: 'application/octet-stream',
          content: random.bytes(900),
        },
      ],
      browser(random),
    ),
  ),
]

const beside: readonly Template[] = [
  nCentral('SAML response', random =>
    form(
      '/saml/acs',
      {
        SAMLResponse: base64(
          `${SAML}${xmlText(random.pick(PEOPLE))}</saml:Subject></saml:Assertion></samlp:Response>`,
        ),
        RelayState: `https://rmm.example.test/automate?x=${random.pick(COMPUTERS)}`,
      },
      browser(random),
    ),
  ),
  screenConnect('OAuth answer', random => ({
    target: `/oauth/callback?code=0.${base64(random.bytes(90)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')}&state=${encodeURIComponent(JSON.stringify({ r: '/Host', n: random.hex(8) }))}&session_state=${random.guid()}`,
    headers: browser(random),
  })),
  nCentral('XML-RPC of an integration', random =>
    send(
      '/integration/xml',
      'application/xml',
      `<?xml version='1.0' encoding='UTF-8'?><call><name>device.add</name><params><p>${xmlText(random.pick(PEOPLE))}</p><p>${xmlText(random.pick(SCRIPTS))}</p></params></call>`,
      { 'user-agent': random.pick(CLIENTS) },
    ),
  ),
  screenConnect('BeyondTrust support desk', random =>
    socket(
      random,
      '/nw',
      [
        `${random.int(20, 26)}.${random.int(1, 3)}.${random.int(0, 9)}\n${random.guid()}\n0\n${random.pick(PEOPLE)}\n`,
        random.bytes(64),
      ],
      { 'sec-websocket-protocol': 'ingredi support desk customer thin', 'x-ns-company': 'example' },
    ),
  ),
  nCentral('SimpleHelp resource', random => ({
    target: random.pick([
      '/toolbox-resource/icon..png',
      '/allversions',
      '/access/Remote%20Support-windows64-online.exe?language=en&hostname=https://help.example.test',
      '/technician/%C3%9Cbersicht',
    ]),
    headers: browser(random),
  })),
  kaseya('web hook of a ticket system', random =>
    json(
      '/api/hooks/ticket',
      {
        action: 'updated',
        id: random.int(1, 9e6),
        subject: random.pick(NOTES),
        html: random.pick(NOTES),
        contact: random.pick(PEOPLE),
        callback: `https://tickets.example.com/v4/${random.int(1, 99)}?fields=id,name`,
      },
      { 'user-agent': random.pick(CLIENTS), 'x-signature': random.hex(64) },
    ),
  ),
  nCentral('endpoint manager status', random =>
    soap('/WSStatusEvents/StatusHandler.asmx', 'http://tempuri.org/', 'UpdateStatus', {
      device: random.pick(COMPUTERS),
      // To a Java server a lookup in a text is an attack, whoever reports it.
      detail: random.pick(EVENT_MESSAGES.filter(text => !text.includes('${jndi'))),
    }),
  ),
  screenConnect('monitoring', random => ({
    method: random.pick(['GET', 'HEAD']),
    target: random.pick(['/', '/Login', '/favicon.ico', '/robots.txt', '/.well-known/security.txt']),
    headers: {
      'user-agent': random.pick([
        'Uptime-Kuma/1.23',
        'Mozilla/5.0 (compatible; UptimeRobot/2.0)',
        'Prometheus/2.50',
        'check_http/v2.3 (nagios-plugins)',
      ]),
    },
  })),
  kaseya('calendar and map', random => ({
    target: `/vsapres/report?from=2026-01-01&to=2026-02-01&tz=%2B02:00&range=1..31&layers=a|b|c&center=${random.int(1, 80)}.5,-${random.int(1, 80)}.25&title=${encodeURIComponent(random.pick(PEOPLE))}`,
    headers: browser(random),
  })),
  nCentral('big cookies of single sign-on', random => ({
    target: '/login?SAMLRequest=fZJNT%2BMwEIb%2FSuR74nw0&RelayState=%2F',
    headers: {
      ...browser(random),
      cookie: random
        .list(
          3,
          12,
          index =>
            `c${index}=${random.pick([base64(random.bytes(200)), encodeURIComponent(random.pick(PEOPLE)), `"${random.hex(30)}"`, `a|${random.int(1, 99)}|b`])}`,
        )
        .join('; '),
    },
  })),
  kaseya('printer and probe addresses', random =>
    json('/api/v1.0/discovery', {
      probes: random.list(1, 5, () => ({
        url: `http://${address(random)}:9100/`,
        local: 'http://localhost:5721/',
        snmp: `udp://${address(random)}`,
        share: random.pick(PATHS),
      })),
    }),
  ),
]

/** Templates of ScreenConnect, Kaseya, N-central and of what stands beside RMM servers. */
export const OTHERS: readonly Template[] = [...screenConnects, ...kaseyas, ...nCentrals, ...beside]
