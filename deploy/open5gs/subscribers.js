// The subscribers of FERRET's lab, for the HSS: `mongosh mongodb://10.71.0.70/open5gs subscribers.js`.
// K is the IMSI behind hexadecimal f; OPc is made of it and "FERRET lab OP   " (TS 35.206 clause 4.1).
const rate = { value: 1, unit: 3 };
const session = (name, index, priority) => ({
  name: name, type: 1, pcc_rule: [], ambr: { downlink: rate, uplink: rate },
  qos: { index: index, arp: { priority_level: priority, pre_emption_capability: 1, pre_emption_vulnerability: 1 } },
});
const subscriber = (imsi, msisdn, opc) => ({
  schema_version: 1, imsi: imsi, msisdn: [msisdn], imeisv: [], mme_host: [], mme_realm: [], purge_flag: [],
  security: { k: imsi.padStart(32, "f"), opc: opc, op: null, amf: "8000", sqn: Long("0") },
  ambr: { downlink: rate, uplink: rate },
  slice: [{ sst: 1, default_indicator: true, session: [session("internet", 9, 8), session("ims", 5, 1)] }],
  access_restriction_data: 32, subscriber_status: 0, network_access_mode: 0,
  subscribed_rau_tau_timer: 12, operator_determined_barring: 0, __v: 0,
});
db.subscribers.createIndex({ imsi: 1 }, { unique: true });
for (const one of [
  subscriber("001010000000001", "491700000001", "4a983d2a37279fc0d2dd48c19f6d91e4"),
  subscriber("001010000000002", "491700000002", "c545d4f00388c24561e7dba66201bb65"),
]) db.subscribers.replaceOne({ imsi: one.imsi }, one, { upsert: true });
