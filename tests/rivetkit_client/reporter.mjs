// One JSON line for each case that has ended: what pytest reads.
export default async function* lines(events) {
  for await (const { type, data } of events) {
    if (type !== "test:pass" && type !== "test:fail") continue;
    if (data.details?.type === "suite") continue;
    const cause = data.details?.error?.cause ?? data.details?.error;
    yield `${JSON.stringify({
      name: data.name,
      passed: type === "test:pass" && data.skip === undefined && data.todo === undefined,
      seconds: data.details.duration_ms / 1000,
      error: type === "test:pass" ? "" : `${cause?.stack ?? cause}`,
    })}\n`;
  }
}
