// The commands of the program. Each of these functions declares the flags of one command and
// returns what runs it, whose result is the exit status. main.cc holds the table.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace athanor {

using CommandAction = std::function<int()>;

CommandAction SetUpSceneImport(CLI::App& app);
CommandAction SetUpSceneReconstruct(CLI::App& app);
CommandAction SetUpSceneEval(CLI::App& app);
CommandAction SetUpSceneRender(CLI::App& app);
CommandAction SetUpSceneInfo(CLI::App& app);
CommandAction SetUpSceneExport(CLI::App& app);
CommandAction SetUpSemanticLift(CLI::App& app);
CommandAction SetUpSemanticQuery(CLI::App& app);
CommandAction SetUpSemanticSegment(CLI::App& app);
CommandAction SetUpSemanticEval(CLI::App& app);
CommandAction SetUpSemanticTrainTeacher(CLI::App& app);
CommandAction SetUpLogInfo(CLI::App& app);
CommandAction SetUpLogCheck(CLI::App& app);
CommandAction SetUpLogView(CLI::App& app);
CommandAction SetUpLogCorrupt(CLI::App& app);
CommandAction SetUpLakeIngest(CLI::App& app);
CommandAction SetUpLakeInfo(CLI::App& app);
CommandAction SetUpLakeMirror(CLI::App& app);
CommandAction SetUpLakeVerify(CLI::App& app);
CommandAction SetUpLakeRemove(CLI::App& app);
CommandAction SetUpLakeGc(CLI::App& app);
CommandAction SetUpLakeExport(CLI::App& app);
CommandAction SetUpInfer(CLI::App& app);
CommandAction SetUpRegistryAdd(CLI::App& app);
CommandAction SetUpRegistryList(CLI::App& app);
CommandAction SetUpRegistryShow(CLI::App& app);
CommandAction SetUpRegistrySet(CLI::App& app);
CommandAction SetUpRegistryRemove(CLI::App& app);
CommandAction SetUpRegistryGc(CLI::App& app);
CommandAction SetUpMineSimilar(CLI::App& app);
CommandAction SetUpMineUncertain(CLI::App& app);
CommandAction SetUpMineUndigested(CLI::App& app);
CommandAction SetUpMineRule(CLI::App& app);
CommandAction SetUpMineSelect(CLI::App& app);
CommandAction SetUpMineDigest(CLI::App& app);
CommandAction SetUpMinePurity(CLI::App& app);
CommandAction SetUpDetectEval(CLI::App& app);
CommandAction SetUpDetectTrain(CLI::App& app);
CommandAction SetUpDetectFollow(CLI::App& app);
CommandAction SetUpDetectPredict(CLI::App& app);
CommandAction SetUpDetectPretrain(CLI::App& app);
CommandAction SetUpDetectExport(CLI::App& app);
CommandAction SetUpDetectBench(CLI::App& app);
CommandAction SetUpEvalCompare(CLI::App& app);
CommandAction SetUpEvalRobustness(CLI::App& app);
CommandAction SetUpEditRemove(CLI::App& app);
CommandAction SetUpEditIsolate(CLI::App& app);
CommandAction SetUpEditRecolor(CLI::App& app);
CommandAction SetUpEditTransform(CLI::App& app);
CommandAction SetUpEditInsert(CLI::App& app);
CommandAction SetUpSimRoom(CLI::App& app);
CommandAction SetUpSimStreet(CLI::App& app);
CommandAction SetUpModelsList(CLI::App& app);
CommandAction SetUpModelsFetch(CLI::App& app);
CommandAction SetUpSemanticDistill(CLI::App& app);
CommandAction SetUpSemanticPredict(CLI::App& app);
CommandAction SetUpVehicleRun(CLI::App& app);
CommandAction SetUpVehicleBundle(CLI::App& app);
CommandAction SetUpVehicleReceive(CLI::App& app);
CommandAction SetUpLabelAuto(CLI::App& app);
CommandAction SetUpLabelWords(CLI::App& app);
CommandAction SetUpLabelAudit(CLI::App& app);
CommandAction SetUpLabelQueue(CLI::App& app);
CommandAction SetUpLabelImport(CLI::App& app);
CommandAction SetUpLabelExport(CLI::App& app);
CommandAction SetUpLoopRun(CLI::App& app);
CommandAction SetUpLoopStatus(CLI::App& app);
CommandAction SetUpLoopReport(CLI::App& app);
CommandAction SetUpTrainPopulation(CLI::App& app);
CommandAction SetUpDoctor(CLI::App& app);
CommandAction SetUpDemo(CLI::App& app);

}  // namespace athanor
