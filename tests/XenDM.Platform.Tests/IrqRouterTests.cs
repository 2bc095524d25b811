using System;
using System.Collections.Generic;
using System.IO;
using XenDM.Core.State;
using XenDM.Testing;

namespace XenDM.Platform.Tests;

public class IrqRouterTests
{
    private readonly PlatformBoard _p = new();

    private int Irr(int port)
    {
        _p.Board.Out8((ushort)port, 0x0a);
        return _p.Board.In8((ushort)port);
    }

    private int PicLines()
    {
        // In level mode the request register shows the lines.
        _p.Board.Out8(0x4d0, 0xf8);
        _p.Board.Out8(0x4d1, 0xde);
        return Irr(0x20) & 0xf8 | ((Irr(0xa0) & 0xde) << 8);
    }

    [Fact]
    public void IntxReachesItsGsiAndItsLink()
    {
        Assert.Equal(20, IrqRouter.GsiOf(1, 0));
        Assert.Equal(16, IrqRouter.GsiOf(0, 0));
        Assert.Equal(17, IrqRouter.GsiOf(8, 0));
        Assert.Equal(((31 * 4) + 3 + 3 & 31) + 16, IrqRouter.GsiOf(31, 3));
        for (var device = 0; device < 32; device++)
            for (var pin = 0; pin < 4; pin++) Assert.InRange(IrqRouter.GsiOf(device, pin), 16, 47);
        _p.EnableAllApics();
        _p.Redirect(IrqRouter.GsiOf(3, 1), 0x8041);
        _p.Router.SetPciLinkRoute(0, 5);
        _p.Router.SetPciIntx(3, 1, true);
        Assert.Equal(0x41, _p.Take());
        Assert.Equal(0x20, PicLines());
        _p.Router.SetPciIntx(3, 1, false);
        Assert.Equal(0, PicLines());
    }

    [Fact]
    public void SharedLinesAreWiredOr()
    {
        _p.Router.SetPciLinkRoute(0, 10);
        _p.Router.SetPciIntx(4, 0, true);
        _p.Router.SetPciIntx(8, 0, true);
        _p.Router.SetIsaIrq(10, true);
        _p.Router.SetIsaIrq(10, true);
        _p.Router.SetPciIntx(4, 0, false);
        Assert.Equal(0x400, PicLines());
        _p.Router.SetPciIntx(8, 0, false);
        Assert.Equal(0x400, PicLines());
        _p.Router.SetIsaIrq(10, false);
        Assert.Equal(0, PicLines());
    }

    [Fact]
    public void AnAssertedLinkMoves()
    {
        _p.Router.SetPciLinkRoute(2, 5);
        _p.Router.SetPciIntx(2, 0, true);
        Assert.Equal(0x20, PicLines());
        _p.Router.SetPciLinkRoute(2, 11);
        Assert.Equal(0x800, PicLines());
        _p.Router.SetPciLinkRoute(2, 0);
        Assert.Equal(0, PicLines());
        _p.Router.SetPciLinkRoute(2, 5);
        Assert.Equal(0x20, PicLines());
        _p.Router.SetPciIntx(2, 0, false);
        Assert.Equal(0, PicLines());
    }

    [Fact]
    public void PlatformChipsShareWithTheBoard()
    {
        _p.Board.Out16(0xb002, 0x100);
        _p.Pm.PressPowerButton();
        Assert.Equal(0x200, PicLines());
        _p.Router.SetIsaIrq(9, true);
        _p.Board.Out16(0xb000, 0x100);
        Assert.Equal(0x200, PicLines());
        _p.Router.SetIsaIrq(9, false);
        Assert.Equal(0, PicLines());
    }

    [Fact]
    public void OutOfRangeIsNothing()
    {
        _p.Router.SetIsaIrq(16, true);
        _p.Router.SetIsaIrq(-1, true);
        _p.Router.SetIsaIrq(2, true);
        _p.Router.SetPciIntx(32, 0, true);
        _p.Router.SetPciIntx(0, 4, true);
        _p.Router.SetPciLinkRoute(4, 1);
        _p.Router.SetPciLinkRoute(0, 16);
        Assert.Equal(0, PicLines());
        Assert.Throws<ArgumentOutOfRangeException>(() => _p.Router.PlatformLine(48));
    }

    [Fact]
    public void ARestoredMachineGoesOnWithItsLines()
    {
        _p.Router.SetPciLinkRoute(1, 5);
        _p.Router.SetPciIntx(1, 0, true);
        _p.Router.SetPciIntx(5, 0, true);
        _p.Router.SetIsaIrq(0, true);
        var file = new MemoryStream();
        StateWriter.Save([.. _p.Chips], file);
        var other = new PlatformBoard();
        other.Board.Clock.Stop();
        StateReader.Load([.. other.Chips], file.ToArray());
        var again = new MemoryStream();
        StateWriter.Save([.. other.Chips], again);
        Assert.Equal(file.ToArray(), again.ToArray());
        other.Board.Out8(0x4d0, 0x20);
        other.Board.Out8(0x20, 0x0a);
        other.Router.SetPciIntx(1, 0, false);
        Assert.Equal(0x21, other.Board.In8(0x20));
        other.Router.SetPciIntx(5, 0, false);
        Assert.Equal(0x01, other.Board.In8(0x20));
        other.Router.SetIsaIrq(0, false);
        Assert.Equal(0, other.Board.In8(0x20));
    }

    [Fact]
    public void RandomAccessesDoNoHarm()
    {
        for (var seed = 1; seed <= 4; seed++) Fuzz(seed);
    }

    private static void Fuzz(int seed)
    {
        var p = new PlatformBoard(3);
        var random = new Random(seed);
        var windows = new List<(ulong Start, ulong End, string Name)>(p.Board.Ports.Windows());
        for (var step = 0; step < 20_000; step++)
        {
            var value = random.Next(4) == 0 ? uint.MaxValue : (uint)random.NextInt64(1L << 32);
            var size = 1 << random.Next(4);
            var apic = p.Apics[random.Next(3)];
            switch (random.Next(9))
            {
                case 0:
                case 1:
                    var (start, end, _) = windows[random.Next(windows.Count)];
                    var port = (ushort)(start + (ulong)random.NextInt64((long)(end - start) + 1));
                    p.Board.Ports.Write(port, Math.Min(4, size), value);
                    p.Board.Ports.Read(port, Math.Min(4, size));
                    break;
                case 2:
                    p.IoWrite(random.Next(0x80), value);
                    p.IoRead(random.Next(0x100));
                    break;
                case 3:
                    var offset = 0xfed00000 + (ulong)(random.Next(0x180) & ~(size - 1));
                    p.Board.Memory.Write(offset, size, value | ((ulong)random.Next() << 32));
                    p.Board.Memory.Read(offset, size);
                    break;
                case 4:
                    var register = (ulong)random.Next(0x400);
                    apic.Write(random.Next(4) == 0 ? register : register & ~15ul, size, value);
                    apic.Read(register, size);
                    break;
                case 5:
                    apic.WriteMsr((uint)random.Next(0x800, 0x900), random.Next(2) == 0 ? value : value & 0xff);
                    apic.ReadMsr((uint)random.Next(0x7f0, 0x910), out _);
                    apic.TscDeadline = random.Next(2) == 0 ? value : ulong.MaxValue - value;
                    break;
                case 6:
                    apic.WriteBaseMsr(0xfee00000 | ((ulong)random.Next(16) << 8));
                    p.Router.SetIsaIrq(random.Next(16), random.Next(2) == 0);
                    p.Router.SetPciIntx(random.Next(32), random.Next(4), random.Next(2) == 0);
                    p.Router.SetPciLinkRoute(random.Next(4), random.Next(16));
                    break;
                case 7:
                    apic.Acknowledge();
                    apic.TaskPriority = random.Next(16);
                    p.Router.InjectMsi(0xfee00000 | (value & 0xfffff), (uint)random.Next(0x10000));
                    break;
                default:
                    p.Board.Advance(random.Next(20_000));
                    break;
            }

            foreach (var each in p.Apics) Assert.Equal(each.HasInterrupt, p.Cpus[each.Vcpu].Pending);
        }

        var file = new MemoryStream();
        StateWriter.Save([.. p.Chips], file);
        var other = new PlatformBoard(3);
        other.Board.Clock.Stop();
        StateReader.Load([.. other.Chips], file.ToArray());
        for (var i = 0; i < 3; i++) Assert.Equal(p.Apics[i].HasInterrupt, other.Apics[i].HasInterrupt);
    }

    [Fact]
    public void KeepsTheContract() => DeviceContract.Check(static () =>
    {
        var p = new PlatformBoard();
        return (p.Board, p.Router);
    }, static (_, router) =>
    {
        router.SetPciLinkRoute(1, 5);
        router.SetPciIntx(1, 0, true);
        router.SetIsaIrq(3, true);
        router.SetLegacyReplacement(true);
        router.SetPciIntx(1, 0, false);
        router.SetIsaIrq(3, false);
    }, "irq-router");
}
