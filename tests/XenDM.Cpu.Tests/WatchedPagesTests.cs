using System;

namespace XenDM.Cpu.Tests;

/// <summary>Pages whose writes are taken note of, as those of video memory are.</summary>
public sealed class WatchedPagesTests : IDisposable
{
    private const ulong Code = 0x1_0000, Watched = 0x40_0000;
    private const ulong FirstPage = Watched >> 12;
    private readonly TestMachine _machine = new();
    private readonly ulong[] _bits = new ulong[2];
    private int _touched;

    public WatchedPagesTests()
    {
        _machine.EnterLongMode(Code);
        _machine.Map.WatchWrites(FirstPage, 100);
        _machine.Map.Touched = () => _touched++;
        Assert.Equal([ulong.MaxValue, (1ul << 36) - 1], Take());
    }

    public void Dispose() => _machine.Dispose();

    private ulong[] Take(ulong first = 0, ulong pages = 100)
    {
        Array.Clear(_bits);
        _machine.Map.TakeWritten(first, pages, _bits);
        return _bits;
    }

    /// <summary>Runs code with RDI at an address.</summary>
    private unsafe void Run(ulong rdi, params byte[] code)
    {
        byte[] all = [.. code, 0xf4];
        all.CopyTo(_machine.At(Code, all.Length));
        _machine.Cpu.Code.Written(Code, all.Length);
        _machine.C->Rip = Code;
        _machine.C->R[7] = rdi;
        _machine.C->R[1] = 0x1800 / 4;
        _machine.Cpu.Refresh();
        _machine.Cpu.Wake();
        for (var turn = 0; turn < 100 && _machine.Cpu.Run(1000) != RunResult.Halted; turn++) Assert.NotEqual(99, turn);
    }

    [Fact]
    public void TheFirstWriteOfEachPageIsTold()
    {
        Run(Watched + 0x1234, 0x88, 0x07, 0x88, 0x07, 0x88, 0x47, 0x01); // mov [rdi], al; again; mov [rdi+1], al
        Assert.Equal(1, _touched);
        Assert.Equal([2ul, 0], Take());
        Assert.Equal([0ul, 0], Take());

        // Taken, the page is watched again, though the TLB knew it.
        Run(Watched + 0x1234, 0x88, 0x07);
        Assert.Equal(2, _touched);
        Assert.Equal([2ul, 0], Take());
    }

    [Fact]
    public void ReadsAreNotWritesAndDoNotOpenThePage()
    {
        Run(Watched + 0x3000, 0x8a, 0x07); // mov al, [rdi]
        Assert.Equal([0ul, 0], Take());
        Run(Watched + 0x3000, 0x8a, 0x07, 0xfe, 0x07); // mov al, [rdi]; inc byte [rdi]
        Assert.Equal([8ul, 0], Take());
        Assert.Equal(1, _touched);
    }

    [Fact]
    public void StringsAndVectorsAndWritesAcrossPagesAreSeen()
    {
        Run(Watched + 0x800, 0xf3, 0xab); // rep stosd of 6 KiB
        Assert.Equal([3ul, 0], Take());
        Run(Watched + 0x5ffc, 0x0f, 0x11, 0x07); // movups [rdi], xmm0
        Assert.Equal([0x60ul, 0], Take());
        Run(Watched + 0x7fff, 0x66, 0x89, 0x07); // mov [rdi], ax
        Assert.Equal([0x180ul, 0], Take());
        Run(Watched + 0xa000, 0xf0, 0x0f, 0xc1, 0x07); // lock xadd [rdi], eax
        Assert.Equal([0x400ul, 0], Take());
    }

    [Fact]
    public void PiecesAreTakenForThemselves()
    {
        Run(Watched + 0x1000, 0x88, 0x07);
        Run(Watched + 0x4_6000, 0x88, 0x07);
        Assert.Equal([0x40ul, 0], Take(64, 36));
        Assert.Equal([2ul, 0], Take());
        Run(Watched + 0x4_6000, 0x88, 0x07);
        Assert.Equal([0ul, 0], Take(0, 70));
        Assert.Equal([1ul, 0], Take(70, 1));
    }

    [Fact]
    public void DevicesWritesCountAndOthersPagesDoNot()
    {
        _machine.Map.NoteWrite(Watched + 0xfff, 2);
        _machine.Map.NoteWrite(Watched - 1, 1);
        _machine.Map.NoteWrite(Watched + (100 << 12), 4096);
        Run(Watched - 8, 0x48, 0x89, 0x07);
        Run(Watched + (100 << 12), 0x88, 0x07);
        Assert.Equal([3ul, 0], Take());
        Assert.Equal(0, _touched);
    }

    [Fact]
    public void NothingIsWatchedAfterTheEnd()
    {
        _machine.Map.WatchWrites(0, 0);
        Run(Watched, 0x88, 0x07);
        Assert.Equal(0, _touched);
        Assert.Throws<ArgumentOutOfRangeException>(() => _machine.Map.TakeWritten(0, 1, new ulong[1]));
    }
}
