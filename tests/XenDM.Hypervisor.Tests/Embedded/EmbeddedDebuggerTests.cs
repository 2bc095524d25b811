using System;
using XenDM.Core.Hypervisor;
using XenDM.Core.Io;
using XenDM.Core.Time;
using XenDM.Core.Tracing;
using XenDM.Cpu;
using XenDM.Hypervisor.Embedded;

namespace XenDM.Hypervisor.Tests.Embedded;

public sealed class EmbeddedDebuggerTests : IDisposable
{
    private const ulong Code = 0x7c00, RamBytes = 4 << 20;

    private readonly EmbeddedMachine _machine;
    private readonly EmbeddedDebugger _debugger;
    private readonly PollLoop _loop;
    private DebugStop _stop;

    public EmbeddedDebuggerTests()
        : this(CpuModel.V3)
    {
    }

    private EmbeddedDebuggerTests(CpuModel model)
    {
        var firmware = new byte[64 << 10];
        // jmp 0:7c00
        new byte[] { 0xea, 0x00, 0x7c, 0x00, 0x00 }.CopyTo(firmware, 0xfff0);
        _machine = new EmbeddedMachine(new EmbeddedOptions(RamBytes, 2, model, firmware, true, 0, 0), SilentLog.Instance);
        var clock = new VmClock(_machine.TimeSource);
        _machine.Build(clock);
        _machine.Attach(new Silence());
        _machine.Reset();
        _loop = new PollLoop(clock);
        _debugger = new EmbeddedDebugger(_machine, () => _machine.Serving = true, () => _machine.Serving = false);
        _debugger.Stopped = stop =>
        {
            _stop = stop;
            _machine.Stop();
        };

        // mov ax,1234; mov [500],ax; mov ax,[500]; here: inc ax; jmp here
        Assert.True(_debugger.WriteMemory(0, Code, [0xb8, 0x34, 0x12, 0xa3, 0x00, 0x05, 0xa1, 0x00, 0x05, 0x40, 0xeb, 0xfd]));
    }

    public void Dispose()
    {
        _loop.Dispose();
        _machine.Dispose();
    }

    private DebugStop Go(DebugAction first = DebugAction.Continue, DebugAction second = DebugAction.Continue)
    {
        Assert.True(_debugger.Resume([first, second]));
        _machine.Run(_loop);
        Assert.False(_debugger.IsRunning);
        return _stop;
    }

    private ulong Get(string name, int cpu = 0) => (ulong)_debugger.ReadRegister(cpu, Number(name));

    private bool Put(string name, UInt128 value) => _debugger.WriteRegister(0, Number(name), value);

    private int Number(string name)
    {
        for (var n = 0; n < _debugger.Registers.Count; n++)
            if (_debugger.Registers[n].Name == name) return n;
        throw new ArgumentException(name);
    }

    [Fact]
    public void BreakpointsStopBeforeTheirInstructionOnceATime()
    {
        Assert.True(_debugger.SetPoint(DebugPoint.HardwareBreakpoint, Code + 3, 1, on: true));
        Assert.True(_debugger.SetPoint(DebugPoint.SoftwareBreakpoint, Code + 9, 1, on: true));
        Assert.Equal(new DebugStop(0, DebugReason.Reached, DebugPoint.HardwareBreakpoint), Go());
        Assert.Equal((Code + 3, 0x1234ul), (Get("rip"), Get("rax")));
        Assert.Equal(new DebugStop(0, DebugReason.Reached, DebugPoint.SoftwareBreakpoint), Go());
        Assert.Equal(Code + 9, Get("rip"));
        Assert.Equal(DebugReason.Reached, Go().Reason);
        Assert.Equal((Code + 9, 0x1235ul), (Get("rip"), Get("rax")));
    }

    [Fact]
    public void ABreakpointThatIsSetTwiceIsClearedOnceButBothKindsCount()
    {
        for (var n = 0; n < 2; n++) _debugger.SetPoint(DebugPoint.HardwareBreakpoint, Code, 1, on: true);
        _debugger.SetPoint(DebugPoint.SoftwareBreakpoint, Code, 1, on: true);
        _debugger.SetPoint(DebugPoint.HardwareBreakpoint, Code, 1, on: false);
        Assert.Equal(new DebugStop(0, DebugReason.Reached, DebugPoint.SoftwareBreakpoint), Go());
        _debugger.ClearPoints();
        _debugger.SetPoint(DebugPoint.SoftwareBreakpoint, Code + 9, 1, on: true);
        Go();
        Assert.Equal(Code + 9, Get("rip"));
    }

    [Fact]
    public void ABreakpointInASegmentThatDoesNotBeginAtZeroIsATrapWithoutAName()
    {
        _debugger.SetPoint(DebugPoint.HardwareBreakpoint, 0xffff_fff0, 1, on: true);
        Assert.Equal(new DebugStop(0, DebugReason.Stepped), Go());
        Assert.Equal(0xfff0ul, Get("rip"));
        _debugger.SetPoint(DebugPoint.HardwareBreakpoint, Code, 1, on: true);
        Assert.Equal(DebugReason.Reached, Go().Reason);
    }

    [Fact]
    public void WatchpointsStopAfterTheAccess()
    {
        _debugger.SetPoint(DebugPoint.WriteWatch, 0x501, 1, on: true);
        _debugger.SetPoint(DebugPoint.ReadWatch, 0x4ff, 2, on: true);
        Assert.Equal(new DebugStop(0, DebugReason.Reached, DebugPoint.WriteWatch, 0x501), Go());
        Assert.Equal(Code + 6, Get("rip"));
        Assert.Equal(new DebugStop(0, DebugReason.Reached, DebugPoint.ReadWatch, 0x500), Go());
        Assert.Equal(Code + 9, Get("rip"));
    }

    [Fact]
    public void AStepIsOneInstruction()
    {
        Assert.Equal(new DebugStop(0, DebugReason.Stepped), Go(DebugAction.Step));
        Assert.Equal(Code, Get("rip"));
        Assert.Equal(0ul, Get("cs"));
        _debugger.SetPoint(DebugPoint.SoftwareBreakpoint, Code, 1, on: true);
        Assert.Equal(new DebugStop(0, DebugReason.Stepped), Go(DebugAction.Step, DebugAction.Hold));
        Assert.Equal(Code + 3, Get("rip"));
    }

    [Fact]
    public void AVcpuOnHoldStaysWhereItIs()
    {
        Assert.True(_debugger.Resume([DebugAction.Hold, DebugAction.Continue]));
        _loop.Post(_debugger.Stop);
        _machine.Run(_loop);
        Assert.Equal(DebugReason.Paused, _stop.Reason);
        Assert.Equal(0xfff0ul, Get("rip"));
        Assert.Equal(DebugReason.Stepped, Go(DebugAction.Step).Reason);
    }

    [Fact]
    public void RegistersAreWrittenWhereThatMakesSense()
    {
        Assert.Equal("i386:x86-64", _debugger.Architecture);
        Assert.Equal((0xfff0ul, 0xf000ul, 2ul, 0x600ul), (Get("rip"), Get("cs"), Get("eflags"), Get("rdx")));
        Assert.True(Put("rbx", 0x1122334455667788));
        Assert.True(Put("eflags", 0xcd7));
        Assert.True(Put("ds", 0x1234));
        Assert.True(Put("fs_base", 0xffff_8000_0000_0000));
        Assert.True(Put("xmm15", UInt128.MaxValue));
        Assert.True(Put("st3", ((UInt128)0x3fff << 64) | (1ul << 63)));
        Assert.True(Put("ftag", 0xffff));
        Assert.True(Put("cr8", 15));
        Assert.Equal((0x1122334455667788ul, 0xcd7ul, 0x1234ul, 15ul), (Get("rbx"), Get("eflags"), Get("ds"), Get("cr8")));
        Assert.Equal((0xfffful, 0x37ful, 0x1f80ul), (Get("ftag"), Get("fctrl"), Get("mxcsr")));
        Assert.Equal(UInt128.MaxValue, _debugger.ReadRegister(0, Number("xmm15")));
        Assert.False(Put("eflags", 0x20002));
        Assert.False(Put("fs_base", 0x8000_0000_0000_0000));
        Assert.False(Put("mxcsr", 0x10000));
        Assert.False(Put("cr8", 16));
        Assert.False(Put("cr0", 1));
        Assert.False(Put("efer", 0x400));
        Assert.Equal(DebugReason.Stepped, Go(DebugAction.Step).Reason);
        Assert.Equal(Code, Get("rip"));
    }

    [Fact]
    public void MemoryEndsWhereThereIsNone()
    {
        Span<byte> bytes = stackalloc byte[8];
        Assert.Equal(8, _debugger.ReadMemory(1, 0xffff_fff0, bytes));
        Assert.Equal(0xea, bytes[0]);
        Assert.Equal(2, _debugger.ReadMemory(0, RamBytes - 2, bytes));
        Assert.Equal(0, _debugger.ReadMemory(0, 0xfec0_0000, bytes));
        Assert.Equal(0, _debugger.ReadMemory(0, ulong.MaxValue, bytes));
        Assert.False(_debugger.WriteMemory(0, RamBytes - 2, [1, 2, 3]));
        Assert.Equal(2, _debugger.ReadMemory(0, RamBytes - 2, bytes));
        Assert.Equal((0, 0), (bytes[0], bytes[1]));
        Assert.False(_debugger.WriteMemory(0, 0xffff_fff0, [0]));
        Assert.True(_debugger.WriteMemory(0, 0x1ffc, [1, 2, 3, 4, 5, 6, 7, 8]));
        Assert.Equal(8, _debugger.ReadMemory(0, 0x1ffc, bytes));
        Assert.Equal(8, bytes[7]);
    }

    [Fact]
    public void CodeThatIsWrittenIsTheCodeThatRuns()
    {
        _debugger.SetPoint(DebugPoint.SoftwareBreakpoint, Code + 9, 1, on: true);
        Go();
        Go();
        // dec ax
        Assert.True(_debugger.WriteMemory(0, Code + 9, [0x48]));
        var before = Get("rax");
        Go();
        Assert.Equal(before - 1, Get("rax"));
    }

    [Fact]
    public void A32BitCpuIsDescribedAsOne()
    {
        using var other = new EmbeddedDebuggerTests(CpuModel.I486);
        Assert.Equal("i386", other._debugger.Architecture);
        Assert.Equal(4, other._debugger.Registers[other.Number("eip")].Bytes);
        Assert.Throws<ArgumentException>(() => other.Number("xmm0"));
        Assert.Equal(DebugReason.Stepped, other.Go(DebugAction.Step).Reason);
        Assert.Equal(Code, other.Get("eip"));
    }

    private sealed class Silence : IRequestHandler
    {
        public void Handle(ref IoRequest request)
        {
            if (request.IsRead) request.Data = ulong.MaxValue;
        }
    }
}
