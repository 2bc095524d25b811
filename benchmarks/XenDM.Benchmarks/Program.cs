using BenchmarkDotNet.Running;

BenchmarkSwitcher.FromAssembly(typeof(XenDM.Benchmarks.DispatchBenchmark).Assembly).Run(args);
