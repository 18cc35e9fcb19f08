// ConnectWise Automate: agents that check in, the Windows console over SOAP, the web console, the API, transfers.
import type { Random } from './random.ts'
import {
  base64,
  encode,
  form,
  gzip,
  json,
  multipart,
  query,
  send,
  soap,
  xmlText,
  zip,
  type Draft,
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

const AGENT = { 'user-agent': 'LabTech Agent' }
const SOAP_NAMESPACE = 'http://labtechsoftware.com/'
const agentPath = (random: Random): string =>
  random.pick(['/LabTech/Agent.aspx', '/labtech/agent.aspx', '/Labtech/agent.aspx'])
const bearer = (random: Random): Record<string, string> => ({
  authorization: `Bearer eyJhbGciOiJIUzI1NiJ9.${base64(random.bytes(60)).replaceAll(/[+/=]/g, '')}.${random.hex(40)}`,
  clientid: random.guid(),
  'user-agent': random.pick(CLIENTS),
})

/** Filters of the API: they are made of the same words as SQL. */
const CONDITIONS = [
  "Client.Id = 12 and Status eq 'Online'",
  "(Name like '%web%') or (Name contains 'sql')",
  "Id in (1,2,3) and OperatingSystemName not like '%Server%'",
  "ComputerName = 'UNION-HALL' and LastContact > '2026-01-01'",
  "Status eq 'Online' and Id gt 3 or Name eq 'x'",
  "Type = 'Workstation' and (Location.Id = 3 or Location.Id = 4)",
  "LoggedInUsers contains 'select' and Domain != ''",
  "Comment = 'drop off; pick up' and IsOnline = true",
  "Name = 'O''Brien' or Name = '1'",
  "FreeDiskSpace < 1000 and Name startswith 'srv'",
] as const

/** Command and script results, check-ins, and inventories of agents. */
function agentXml(random: Random): Draft {
  const rows = random.list(
    1,
    12,
    index =>
      `<row id="${index}"><n>${xmlText(random.pick(SOFTWARE))}</n><p>${xmlText(random.pick([...PATHS, ...COMMAND_LINES]))}</p></row>`,
  )
  return send(
    `${agentPath(random)}?cid=${random.int(1, 9000)}&type=${random.pick(['inventory', 'status', 'select', 'exec'])}`,
    'text/xml',
    `<?xml version="1.0"?><checkin computer="${xmlText(random.pick(COMPUTERS)).replaceAll('"', '')}"><![CDATA[${random.pick(EVENT_MESSAGES).replaceAll(']]>', '')}]]>${rows.join('')}</checkin>`,
    AGENT,
  )
}

/** Pages of ASP.NET with their view state. */
export function postBack(random: Random, target: string, fields: Readonly<Record<string, string>>): Draft {
  const state = Buffer.concat([
    Buffer.from([0xff, 0x01, 0x0f, 0x0f, 0x05]),
    random.bytes(random.int(60, 1500)),
  ])
  return form(
    target,
    {
      __EVENTTARGET: random.pick(['', 'ctl00$Main$Grid', "ctl00$Main$lnk'Edit'"]),
      __EVENTARGUMENT: random.pick(['', 'Page$2', 'Select$4', 'Sort$Name']),
      __VIEWSTATE: base64(state),
      __VIEWSTATEGENERATOR: random.hex(8).toUpperCase(),
      __EVENTVALIDATION: base64(Buffer.concat([Buffer.from([0xfd]), random.bytes(90)])),
      ...fields,
    },
    {
      'user-agent': random.pick(BROWSERS),
      referer: `https://rmm.example.test${target}?ReturnUrl=%2fautomate%2f%3fa%3d1%26b%3d%27x%27`,
    },
  )
}

const draft = (name: string, make: (random: Random) => Draft): Template => ({
  name,
  profile: 'connectwise-automate',
  draft: make,
})

/** Templates of ConnectWise Automate. */
export const AUTOMATE: readonly Template[] = [
  draft('agent asks for the version', random => ({ target: agentPath(random), headers: AGENT })),
  draft('agent check-in, form', random =>
    form(
      agentPath(random),
      {
        ID: random.int(1, 90_000),
        Name: random.pick(COMPUTERS),
        User: random.pick(PEOPLE),
        IP: address(random),
        Data: `${random.pick(COMPUTERS)}|||${random.pick(SOFTWARE)}|||${random.pick(PATHS)}|||${random.int(0, 100)}%`,
        LastCommand: random.pick(COMMAND_LINES),
      },
      AGENT,
    ),
  ),
  draft('agent check-in, XML', agentXml),
  draft('agent check-in, base64 body', random =>
    send(
      agentPath(random),
      'application/x-www-form-urlencoded',
      encode({ id: random.int(1, 9999), data: base64(JSON.stringify(inventory(random))) }),
      AGENT,
    ),
  ),
  draft('agent check-in, packed', random =>
    send(agentPath(random), 'application/octet-stream', gzip(JSON.stringify(inventory(random))), AGENT),
  ),
  draft('agent check-in, encrypted in base64 without a type', random => ({
    method: 'POST',
    target: `${agentPath(random)}?${random.int(1, 9999)}&0&${random.pick(['Computer', 'Probe'])}&${encodeURIComponent(random.pick(COMPUTERS))}`,
    headers: AGENT,
    body: Buffer.from(base64(random.bytes(random.int(40, 3000)))),
  })),
  draft('agent reports the result of a command', random =>
    form(
      agentPath(random),
      {
        CommandID: random.int(1, 1e6),
        Output: `${random.pick(SCRIPTS)}\r\n${prose(random)}\r\nuid=0(root) gid=0(root)\r\nroot:x:0:0:root:/root:/bin/bash`,
        Status: 3,
      },
      AGENT,
    ),
  ),
  draft('agent reports events, JSON', random =>
    json(
      agentPath(random),
      {
        events: random.list(1, 20, () => ({
          source: random.pick(SOFTWARE),
          message: random.pick(EVENT_MESSAGES),
          time: time(random),
        })),
      },
      AGENT,
    ),
  ),
  draft('agent uploads a log', random =>
    multipart(
      random,
      '/LabTech/Transfer/Upload.aspx',
      [
        { name: 'path', content: random.pick(PATHS) },
        {
          name: 'file',
          file: random.pick(['u_ex261121.log', 'LTErrors.txt', 'C:\\Windows\\Temp\\a.zip', 'access.log.1']),
          type: 'text/plain',
          content: `${prose(random)}\n${random.pick(EVENT_MESSAGES)}`,
        },
      ],
      AGENT,
    ),
  ),
  draft('agent uploads a zip', random =>
    send(
      '/LabTech/Transfer/Monitors/upload.aspx?file=diag.zip',
      'application/zip',
      zip(
        random.list(1, 5, index => ({
          name: `logs/${index} (copy).txt`,
          content: Buffer.from(prose(random)),
        })),
      ),
      AGENT,
    ),
  ),
  draft('agent uploads bytes', random =>
    send(
      '/LabTech/Transfer/Upload.ashx',
      'application/octet-stream',
      random.bytes(random.int(10, 4000)),
      AGENT,
      random.pick(['POST', 'PUT']),
    ),
  ),
  draft('agent downloads', random => ({
    target: random.pick([
      '/LabTech/Updates/LabtechUpdate_220.105.zip',
      '/LabTech/Transfer/Scripts/install%20agent.ps1',
      '/LabTech/Transfer/Tools/7-Zip%20(x64).exe',
      '/LabTech/Transfer/Software/v1..v2/setup.msi',
      "/LabTech/Transfer/Customers/O'Brien%20&%20Sons/logo.png",
    ]),
    headers: { ...AGENT, range: `bytes=${random.int(0, 1000)}-` },
  })),
  draft('installer is fetched', random => ({
    target: `/LabTech/Deployment.aspx?${random.pick([`InstallerToken=${random.hex(32)}`, 'Probe=1&installType=msi&MSILocations=1', `ID=-1&Installer=1&InstallerToken=${random.hex(32)}`])}`,
    headers: { 'user-agent': random.pick([...CLIENTS, ...BROWSERS]) },
  })),
  draft('Control Center asks for computers', random =>
    soap('/LabTech/ControlCenter.asmx', SOAP_NAMESPACE, 'GetComputers', {
      filter: random.pick(CONDITIONS),
      page: random.int(1, 9),
    }),
  ),
  draft('Control Center runs SQL', random =>
    soap('/LabTech/ControlCenter.asmx', SOAP_NAMESPACE, 'GetDataSet', {
      sql: `SELECT c.computerid, c.name FROM computers c JOIN clients l ON c.clientid=l.clientid WHERE l.name='${random.pick(PEOPLE).replaceAll("'", "''")}' UNION ALL SELECT 0, 'none' ORDER BY 2; -- list`,
    }),
  ),
  draft('Control Center runs a script', random =>
    soap('/LabTech/ControlCenter.asmx', SOAP_NAMESPACE, 'SendCommand', {
      computerid: random.int(1, 9999),
      command: random.int(1, 200),
      parameters: random.pick([...SCRIPTS, ...COMMAND_LINES]),
    }),
  ),
  draft('Control Center saves a note', random =>
    soap('/LabTech/ControlCenter.asmx', SOAP_NAMESPACE, 'SaveTicket', {
      subject: random.pick(NOTES),
      body: prose(random),
      from: random.pick(PEOPLE),
    }),
  ),
  draft('console page', random => ({
    target: random.pick([
      '/automate',
      '/automate/computers?page=2&sort=name%20asc',
      `/automate/computer/${random.int(1, 999)}/effective-policy`,
      '/automate/browse/companies/computers?filter=%7B%22name%22%3A%22o%27brien%22%7D',
      '/WCC2/Home/Login?ReturnUrl=%2fWCC2%2f',
    ]),
    headers: {
      'user-agent': random.pick(BROWSERS),
      cookie: `ASP.NET_SessionId=${random.hex(24)}; .ASPXAUTH=${random.hex(300)}; prefs=%7B%22grid%22%3A%5B%22name%22%2C%22o%27s%22%5D%2C%22q%22%3A%22a%20or%20b%22%7D; _ga=GA1.2.${random.digits(9)}.${random.digits(10)}; blob=${base64(random.bytes(300))}`,
      referer: `https://rmm.example.test/automate/search?q=${encodeURIComponent(random.pick(NOTES))}`,
      accept: 'text/html,application/xhtml+xml,*/*;q=0.8',
      'accept-language': 'de-DE,de;q=0.9,en;q=0.8',
      'sec-ch-ua': '"Chromium";v="129", "Not=A?Brand";v="8"',
    },
  })),
  draft('console search', random => ({
    target: `/WCC2/Search/search?q=${encodeURIComponent(random.pick([...COMPUTERS, ...PEOPLE, ...SOFTWARE]))}`,
    headers: { 'user-agent': random.pick(BROWSERS) },
  })),
  draft('web console login', random =>
    form(
      '/WCC2/Home/Login',
      { UserName: random.pick(PEOPLE), Password: random.pick(PASSWORDS), TwoFactor: random.digits(6) },
      { 'user-agent': random.pick(BROWSERS) },
    ),
  ),
  draft('console post-back', random =>
    postBack(random, '/automate/page.aspx', {
      ctl00$Main$search: random.pick([...PEOPLE, ...SOFTWARE]),
      ctl00$Main$note: random.pick(NOTES),
    }),
  ),
  draft('API token', random =>
    json(
      '/cwa/api/v1/apitoken',
      {
        UserName: random.pick(PEOPLE),
        Password: random.pick(PASSWORDS),
        TwoFactorPasscode: random.digits(6),
      },
      { clientid: random.guid() },
    ),
  ),
  draft('API filter', random => ({
    target: `/cwa/api/v1/Computers?${query({ condition: random.pick(CONDITIONS), pageSize: 100, orderBy: 'ComputerName asc', includeFields: 'Id,ComputerName,Location.Name' })}`,
    headers: bearer(random),
  })),
  draft('API filter in a form', random => ({
    target: `/cwa/api/v1/Clients?${encode({ condition: random.pick(CONDITIONS), page: random.int(1, 40) })}`,
    headers: bearer(random),
  })),
  draft('API runs a command', random =>
    json(
      `/cwa/api/v1/computers/${random.int(1, 999)}/commandexecute`,
      {
        ComputerId: random.int(1, 999),
        Command: { Id: 2 },
        Parameters: [random.pick(SCRIPTS), random.pick(COMMAND_LINES)],
      },
      bearer(random),
    ),
  ),
  draft('API saves a script', random =>
    json(
      '/cwa/api/v1/scripts',
      {
        name: random.pick(SOFTWARE),
        folder: random.pick(PATHS),
        script: random.list(1, 6, () => random.pick(SCRIPTS)).join('\n'),
      },
      bearer(random),
      random.pick(['POST', 'PUT', 'PATCH']),
    ),
  ),
  draft('API data view with SQL', random =>
    json(
      '/cwa/api/v1/dataviews',
      { name: random.pick(PEOPLE), sql: random.pick(SCRIPTS.filter(text => /^(SELECT|UPDATE)/.test(text))) },
      bearer(random),
    ),
  ),
  draft('API patch', random =>
    json(
      `/cwa/api/v1/computers/${random.int(1, 999)}`,
      [
        { op: 'replace', path: '/Comment', value: random.pick(NOTES) },
        { op: 'add', path: '/ExtraFields/-', value: random.pick(PEOPLE) },
      ],
      { ...bearer(random), 'content-type': 'application/json-patch+json' },
      'PATCH',
    ),
  ),
  draft('API pre-flight', () => ({
    method: 'OPTIONS',
    target: '/cwa/api/v1/computers',
    headers: {
      origin: 'https://rmm.example.test',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,clientid,content-type',
    },
  })),
]
