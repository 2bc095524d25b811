using System;
using XenDM.Core.Io;
using XenDM.Core.Time;
using XenDM.Core.Tracing;
using XenDM.Cpu;
using XenDM.Hypervisor.Embedded;

namespace XenDM.Hypervisor.Tests.Embedded;

/// <summary>When the machine thread turns from the vCPU to its other work.</summary>
public sealed class SliceTests
{
    [Fact]
    public void WorkThatAnAccessPostsIsDoneSoon()
    {
        var firmware = new byte[64 << 10];

        // jmp 0:7c00; there: xor eax,eax; out 80,al; here: inc eax; jmp here
        new byte[] { 0xea, 0x00, 0x7c, 0x00, 0x00 }.CopyTo(firmware, 0xfff0);
        using var machine = new EmbeddedMachine(new EmbeddedOptions(4 << 20, 1, CpuModel.V3, firmware, true, 0, 0), SilentLog.Instance);
        var clock = new VmClock(machine.TimeSource);
        machine.Build(clock);
        using var loop = new PollLoop(clock);
        var debugger = new EmbeddedDebugger(machine, () => machine.Serving = true, () => machine.Serving = false);
        Assert.True(debugger.WriteMemory(0, 0x7c00, [0x66, 0x31, 0xc0, 0xe6, 0x80, 0x66, 0x40, 0xeb, 0xfc]));
        UInt128? turns = null;
        machine.Attach(new Port(() => loop.Post(() =>
        {
            turns = debugger.ReadRegister(0, 0);
            machine.Stop();
        })));
        machine.Reset();
        machine.Serving = true;
        machine.Run(loop);
        Assert.Equal("rax", debugger.Registers[0].Name);
        Assert.InRange((long)turns!, 0, 1000);
    }

    private sealed class Port(Action written) : IRequestHandler
    {
        public void Handle(ref IoRequest request)
        {
            if (request.IsRead) request.Data = ulong.MaxValue;
            else written();
        }
    }
}
