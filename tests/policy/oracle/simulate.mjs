// Answers each line, a simulation in JSON, with a line of its own: the result, or what is wrong with the simulation.
import { createInterface } from "node:readline";
import { runSimulation } from "@cloud-copilot/iam-simulate";

for await (const line of createInterface({ input: process.stdin })) {
  const simulation = { serviceControlPolicies: [], resourceControlPolicies: [], ...JSON.parse(line) };
  const answer = await runSimulation(simulation, {});
  console.log(answer.resultType === "error" ? JSON.stringify(answer.errors) : answer.overallResult);
}
